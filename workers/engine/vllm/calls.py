"""A request's HTTP calls: one that computes a prompt and keeps or ends it, and one that streams."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from orchestrator.core.sampling import Finish
from workers.engine.base import Emission, EngineRequest, KvBlocks
from workers.engine.vllm.answers import UNREADABLE, Piece, error_text, parse, piece, prompt_logprobs
from workers.engine.vllm.bodies import COMPLETIONS, TOKENS, completion, is_constrained, is_plain, token_stream
from workers.engine.vllm.client import HttpError, Listener
from workers.engine.vllm.handoff import Handoff, HandoffError
from workers.engine.vllm.ledger import Stage
from workers.engine.vllm.plan import Plan
from workers.engine.vllm.sse import Events

if TYPE_CHECKING:
    from workers.engine.vllm.engine import VllmEngine

INVALID = (400, 413, 422)
BUSY = (429, 503)


class Outcome(Listener, Protocol):
    """A listener that its engine knows how to abort."""

    def abort(self) -> None: ...


def code_of(status: int, otherwise: str) -> str:
    """How a refusal of vLLM reads to a front door."""
    return "invalid" if status in INVALID else "full" if status in BUSY else otherwise


class PrefillCall:
    """Computes the prompt and produces its first token (or two: see plan); the KV stays for a peer where there is a `handoff`.

    Without one, the request goes on here: the way to log-probabilities of the prompt, which vLLM does not stream.
    """

    def __init__(
        self, engine: VllmEngine, request: EngineRequest, way: Plan, handoff: Handoff | None, produced: int
    ) -> None:
        self._engine, self._request, self._way, self._handoff = engine, request, way, handoff
        sampling = request.sampling
        body = completion(engine.model, way.prompt, sampling, way.index, produced)
        if handoff is not None:
            body |= handoff.prefill_fields()
        if sampling.prompt_logprobs is not None and request.first_index == 0:
            body["prompt_logprobs"] = sampling.prompt_logprobs
        self._status = 0
        self._parts: list[bytes] = []
        self.abort = engine.start(request, COMPLETIONS, body, self, "prefill")

    def head(self, status: int) -> None:
        self._status = status

    def data(self, chunk: bytes) -> None:
        self._parts.append(chunk)

    def done(self, error: HttpError | None) -> None:
        """See Listener."""
        key = self._request.key
        if error is not None:
            self._engine.failed(key, "engine", str(error))
            return
        data = b"".join(self._parts)
        if self._status != 200:
            self._engine.failed(key, code_of(self._status, "engine"), refusal_text(self._status, data))
            return
        try:
            document = parse(data)
            self._answered(document, piece(document, self._request.sampling.logprobs or 0))
        except (*UNREADABLE, HandoffError) as fault:
            self._engine.failed(key, "engine", f"{type(fault).__name__}: {fault}")

    def _answered(self, document: dict[str, Any], found: Piece) -> None:
        request, way, engine = self._request, self._way, self._engine
        sampling, cached = request.sampling, _cached(document)
        first = Emission(request.key, way.index, found.tokens, found.logprobs, prefilled=True, cached_tokens=cached)
        if sampling.prompt_logprobs is not None and way.index == 0:
            first.prompt_logprobs = prompt_logprobs(document, sampling.prompt_logprobs)
        engine.computed(way.prompt, cached)
        ended = found.finish is Finish.STOP or way.index + len(found.tokens) >= sampling.max_tokens
        if self._handoff is None:
            if ended:
                first.finish = found.finish
                engine.over(first)
                return
            engine.emit(first)
            tokens = [*request.tokens, *found.tokens]
            engine.follow(replace(request, tokens=tokens, first_index=request.first_index + len(found.tokens)))
            return
        if ended and not is_constrained(sampling):
            first.finish = found.finish  # its blocks are free when the lease is over
            engine.over(first)
            return
        handoff = self._handoff.collect(document)
        holds = self._handoff.computed_tokens(document)
        if is_constrained(sampling) or (holds is not None and holds < len(way.prompt)):
            # The decode leg produces it again: for its grammar it has to, and a model with recurrent state leaves the end of its prompt
            # to the decode side, so that what came here is no output token. Only what the decode leg says counts.
            first.tokens, first.logprobs, first.first_index = [], [], request.first_index
        computed = len(way.prompt) + max(0, len(first.tokens) - 1)
        first.lease = KvBlocks((), (), computed, handoff)
        engine.leased(first)


class StreamCall:
    """Streams tokens: of a request that is prefilled here too, of one whose KV is to be pulled, or of one that goes on here."""

    def __init__(
        self, engine: VllmEngine, request: EngineRequest, way: Plan, stage: Stage, fields: dict[str, Any]
    ) -> None:
        self._engine, self._request = engine, request
        self._stage = stage
        self._prompt = way.prompt
        self._index = way.index
        self._repeated = way.repeated
        self._most = request.sampling.logprobs or 0
        self._over = False
        self._status = 0
        self._events = Events()
        self._parts: list[bytes] = []
        self._started_s = time.monotonic()
        body = completion(
            engine.model, way.prompt, request.sampling, way.index, request.sampling.max_tokens - way.index
        )
        path = COMPLETIONS
        if engine.streams_tokens and is_plain(request.sampling):
            path, body = TOKENS, token_stream(body)
        self.abort = engine.start(request, path, {**body, **fields, "stream": True}, self, str(stage))

    def is_overdue(self, now_s: float, limit_s: float) -> bool:
        """Its KV should have come by now."""
        return self._stage is Stage.PULL and now_s - self._started_s > limit_s

    def head(self, status: int) -> None:
        self._status = status

    def data(self, chunk: bytes) -> None:
        """See Listener."""
        if self._status != 200:
            self._parts.append(chunk)
            return
        if self._over:
            return  # what follows the last token
        try:
            for event in self._events.feed(chunk):
                self._take(piece(parse(event), self._most))
                if self._over:
                    return
        except UNREADABLE as fault:
            self._fail(self._otherwise(), str(fault))

    def done(self, error: HttpError | None) -> None:
        """See Listener."""
        if self._over:
            return
        if error is not None:
            self._fail("engine", str(error))
        elif self._status != 200:
            data = b"".join(self._parts)
            self._fail(code_of(self._status, self._otherwise()), refusal_text(self._status, data))
        else:
            self._fail(self._otherwise(), "the stream ended before the request did")

    def _otherwise(self) -> str:
        return "transfer" if self._stage is Stage.PULL else "engine"

    def _fail(self, code: str, text: str) -> None:
        self._over = True
        self.abort()
        self._engine.failed(self._request.key, code, text)

    def _take(self, found: Piece) -> None:
        tokens, logprobs = found.tokens, found.logprobs
        emission = Emission(self._request.key, self._index, tokens, logprobs, found.finish)
        if tokens and self._stage is not Stage.DECODE:
            self._begin(emission)
        if self._repeated:
            same = min(len(tokens), len(self._repeated))
            early = found.finish is not None and len(tokens) < len(self._repeated)
            if early or tokens[:same] != self._repeated[:same]:
                self._fail("engine", "started over for its grammar, vLLM produced other tokens than those that are out")
                return
            del self._repeated[:same]
            emission.first_index += same + len(self._repeated)
            emission.tokens, emission.logprobs = tokens[same:], logprobs[same:]
        self._index += len(tokens)
        if found.finish is not None:
            self._over = True
            self._engine.over(emission)
        elif emission.tokens or emission.pulled is not None:
            self._engine.emit(emission)

    def _begin(self, emission: Emission) -> None:
        """The first tokens are here, so the prompt is."""
        engine = self._engine
        engine.decoding(self._request.key, len(self._prompt) + len(self._repeated))
        if self._stage is Stage.PULL:
            emission.pulled = engine.has_pulled(time.monotonic() - self._started_s)
        else:
            emission.prefilled = True
            engine.computed(self._prompt, 0)
        self._stage = Stage.DECODE


def refusal_text(status: int, data: bytes) -> str:
    """What vLLM says in an answer that is no success."""
    try:
        said = error_text(orjson.loads(data))
    except orjson.JSONDecodeError:
        said = data[:500].decode(errors="replace")
    return f"vLLM answered {status}: {said}"


def _cached(document: dict[str, Any]) -> int:
    details = (document.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)
