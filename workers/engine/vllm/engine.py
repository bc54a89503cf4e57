"""A worker's engine that is a vLLM server: requests become HTTP calls, what they answer becomes emissions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from workers.engine.base import Emission, EngineRequest, EngineStats, Invalid, Key, KvBlocks, Phase, PullResult
from workers.engine.vllm.calls import Outcome, PrefillCall, StreamCall
from workers.engine.vllm.client import HttpClient
from workers.engine.vllm.handoff import Handoff, HandoffError
from workers.engine.vllm.ledger import Ledger, Stage
from workers.engine.vllm.plan import plan, prefill_tokens
from workers.engine.vllm.prefixes import Prefixes

SAMPLE_S = 5.0
"""A sample of the server's metrics may be this old."""
LEASE_SHARE = 0.8
"""After this share of a lease nobody may begin to pull: vLLM frees the blocks without a word, and checks nothing when they are read."""


class VllmEngine:
    """See PullingEngine. Used on the event loop; `step` hands over what came in since the last one."""

    def __init__(
        self,
        client: HttpClient,
        model: str,
        handoff: Handoff,
        *,
        kv_blocks: int,
        block_tokens: int,
        max_model_len: int,
        lease_s: float,
        prefixes: Prefixes,
        layout: str = "",
        streams_tokens: bool = False,
    ) -> None:
        self.stats = EngineStats(kv_total_blocks=kv_blocks, block_tokens=block_tokens)
        self.max_model_len = max_model_len
        self.wake: Callable[[], None] = lambda: None
        self.pulls = (0, 0, 0)
        self.prefixes = prefixes
        self.ledger = Ledger(self.stats)
        self._client = client
        self.model = model
        """The name by which the server knows it."""
        self.streams_tokens = streams_tokens
        """The server has TOKENS; see bodies."""
        self._handoff = handoff
        self._lease_s = lease_s
        self._layout = layout
        self._calls: dict[Key, PrefillCall | StreamCall] = {}
        self._out: list[Emission] = []
        self._moved_s = time.monotonic()
        self._answered_s = 0.0

    def kv_layout(self) -> str:
        return self._layout

    def submit(self, request: EngineRequest) -> None:
        """See Engine."""
        self._check(request)
        sampling, way = request.sampling, plan(request)
        remaining = sampling.max_tokens - way.remaining
        produced = prefill_tokens(request, len(way.prompt), self.stats.block_tokens)
        self.ledger.enter(request.key, Stage.PREFILL, len(way.prompt))
        if request.phase is Phase.PREFILL and remaining > produced:
            self._calls[request.key] = PrefillCall(self, request, way, self._handoff, produced)
        elif sampling.prompt_logprobs is not None and request.first_index == 0:
            self._calls[request.key] = PrefillCall(self, request, way, None, 1)  # vLLM streams none
        else:
            self._calls[request.key] = StreamCall(self, request, way, Stage.PREFILL, {})

    def reserve(self, key: Key, tokens: int) -> KvBlocks:
        """See Engine. vLLM keeps nothing back for it, so this bounds only what comes through this worker."""
        self.ledger.reserve(key, tokens, time.monotonic() + self._lease_s)
        return KvBlocks((), (), tokens)

    def pull(self, request: EngineRequest, source: KvBlocks) -> None:
        """See PullingEngine."""
        try:
            self._check(request)
            fields = self._handoff.decode_fields(source.handoff)
        except (HandoffError, Invalid) as error:
            self.over(Emission(request.key, request.first_index, refusal=("invalid", str(error))))
            return
        way = plan(request)
        self.ledger.enter(request.key, Stage.PULL, len(way.prompt))
        self._calls[request.key] = StreamCall(self, request, way, Stage.PULL, fields)

    def release(self, key: Key) -> None:
        """See Engine. The decode server has told the prefill server so itself."""
        if self.ledger.stage(key) is Stage.LEASED:
            self.ledger.leave(key)

    def cancel(self, key: Key) -> None:
        """See Engine. Hanging up makes vLLM abort the request."""
        call = self._calls.pop(key, None)
        if call is not None:
            call.abort()
        self.ledger.leave(key)

    def expire(self, now_s: float) -> list[Key]:
        keys = self.ledger.expired(now_s)
        for key in keys:
            self.stats.lease_expiries += self.ledger.stage(key) is Stage.LEASED
            self.ledger.leave(key)
        for key, call in list(self._calls.items()):
            if isinstance(call, StreamCall) and call.is_overdue(now_s, self._lease_s):
                self.failed(key, "transfer", f"the KV has not come within {self._lease_s:g} s")
                call.abort()
        return keys

    def step(self) -> list[Emission]:
        """What came in since the last step."""
        out, self._out = self._out, []
        return out

    def has_work(self) -> bool:
        return bool(self._out)

    def check_integrity(self) -> None:
        """See Engine."""
        self.ledger.check()
        uncounted = sorted(key.request_id for key in self._calls if key not in self.ledger)
        assert not uncounted, f"calls that nobody counts: {uncounted[:3]}"

    def cache_events(self) -> tuple[list[int], list[int]]:
        return self.prefixes.changes()

    def cached_hashes(self) -> list[int]:
        return self.prefixes.stored()

    def stalled_s(self, now_s: float) -> float:
        """Since when nothing has moved although requests run, or no sample of metrics has come; see RemoteEngine.

        A request that waits for its KV does not count. A server that writes its metrics but makes no step hangs all the same.
        """
        if not any(self.ledger.stage(key) is not Stage.PULL for key in self._calls):
            self._moved_s = now_s
        silent_s = now_s - self._answered_s - SAMPLE_S if self._answered_s else 0.0
        return max(now_s - self._moved_s, silent_s)

    def answered(self) -> None:
        """The server has written its metrics; from the first time on it must go on to."""
        self._answered_s = time.monotonic()

    def moved(self) -> None:
        """The server has done something."""
        self._moved_s = time.monotonic()

    def start(
        self, request: EngineRequest, path: str, body: dict[str, Any], outcome: Outcome, leg: str
    ) -> Callable[[], None]:
        """POST a leg; returns what aborts it."""
        name = f"{request.key.request_id.rpartition('/')[2]}-{request.key.attempt:x}-{leg}"
        return self._client.post(path, orjson.dumps(body), outcome, {"X-Request-Id": name}).abort

    def computed(self, prompt: list[int], cached_tokens: int) -> None:
        """A prompt has been computed here."""
        self.stats.prompt_tokens += len(prompt)
        self.stats.cached_prompt_tokens += cached_tokens
        self.prefixes.computed(prompt)

    def decoding(self, key: Key, tokens: int) -> None:
        """Its first token of a stream is here."""
        self.ledger.enter(key, Stage.DECODE, tokens)

    def has_pulled(self, seconds: float) -> PullResult:
        """KV has come. vLLM says how much only in its metrics, for all requests together."""
        moved, done, failures = self.pulls
        self.pulls = (moved, done + 1, failures)
        return PullResult(0, 0, seconds)

    def emit(self, emission: Emission) -> None:
        """Tokens of a request that goes on."""
        self.moved()
        if emission.tokens and self.ledger.stage(emission.key) is Stage.DECODE:
            self.ledger.grow(emission.key, len(emission.tokens))
        self.stats.generated_tokens += len(emission.tokens)
        self._out.append(emission)
        self.wake()

    def leased(self, emission: Emission) -> None:
        """A prefill leg is over and its blocks wait."""
        assert emission.lease is not None
        del self._calls[emission.key]
        deadline_s = time.monotonic() + LEASE_SHARE * self._lease_s
        self.ledger.enter(emission.key, Stage.LEASED, emission.lease.tokens, deadline_s)
        self.emit(emission)

    def follow(self, request: EngineRequest) -> None:
        """Go on with a stream where a first leg on this server has ended."""
        way = plan(request)
        self.ledger.enter(request.key, Stage.DECODE, len(way.prompt))
        self._calls[request.key] = StreamCall(self, request, way, Stage.DECODE, {})

    def over(self, emission: Emission) -> None:
        """The request is at its end here."""
        self._calls.pop(emission.key, None)
        self.ledger.leave(emission.key)
        self.emit(emission)

    def failed(self, key: Key, code: str, text: str) -> None:
        """The server failed a request."""
        if code == "transfer":
            moved, done, failures = self.pulls
            self.pulls = (moved, done, failures + 1)
        self.over(Emission(key, 0, refusal=(code, text)))

    def _check(self, request: EngineRequest) -> None:
        if len(request.tokens) >= self.max_model_len:
            raise Invalid(f"{len(request.tokens)} tokens; the server takes {self.max_model_len - 1}")
