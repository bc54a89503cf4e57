"""Pairs of vLLM servers: whether they can exchange KV is found out, and their connection made, before a request needs it.

Warming runs the real thing once: a prefill leg on the source, a decode leg here. Before it, the two servers' own compatibility
hashes are compared, because a mismatch would show only as failed requests. Source: vLLM 0.32, `kv_connector/v1/nixl/metadata.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.core.sampling import Sampling
from workers.engine.vllm.address import Address
from workers.engine.vllm.answers import UNREADABLE, AnswerError, parse, piece
from workers.engine.vllm.bodies import COMPLETIONS, completion
from workers.engine.vllm.client import HttpClient, HttpError
from workers.engine.vllm.facts import Facts
from workers.engine.vllm.handoff import Handoff, HandoffError
from workers.engine.vllm.handshake import HandshakeError, compatibility_hash

log = logging.getLogger(__name__)

WARM_S = 30.0
AGAIN_S = 10.0
"""Between two attempts at a pair that failed."""
PROBE = Sampling(max_tokens=4, temperature=0.0, ignore_eos=True)


class Incompatible(Exception):
    """The two servers cannot exchange KV, now or later."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a worker tells the ones that pull from it."""

    url: str
    facts: Facts

    def dump(self) -> bytes:
        return orjson.dumps({"url": self.url, **dataclasses.asdict(self.facts)})

    @classmethod
    def load(cls, data: bytes) -> Identity:
        """Raises ValueError for anything that is no identity."""
        document = orjson.loads(data)
        try:
            return cls(document.pop("url"), Facts(**document))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no vLLM worker: {error}") from None


class VllmLinks:
    """See Links. `name` is that of the handoff."""

    def __init__(self, own: Identity, client: HttpClient, handoff: Handoff) -> None:
        self.name = handoff.name
        self.problems: dict[str, str] = {}
        """Peers that cannot be pulled from, and why."""
        self._own = own
        self._client = client
        self._handoff = handoff
        self._warm: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._not_before_s: dict[str, float] = {}
        self._own_hash = ""
        self._loop = asyncio.get_running_loop()

    def metadata(self) -> bytes:
        return self._own.dump()

    def versions(self) -> dict[str, str]:
        facts = self._own.facts
        return {"vllm": facts.version, "kv_cache_dtype": facts.cache_dtype}

    def connect(self, peer: str, metadata: bytes) -> None:
        """See Links."""
        due = self._loop.time() >= self._not_before_s.get(peer, 0.0)
        if due and peer not in self._warm and peer not in self._tasks:
            self._tasks[peer] = self._loop.create_task(self._warm_up(peer, metadata))

    def connected(self) -> list[str]:
        return sorted(self._warm)

    def disconnect(self, peer: str) -> None:
        self._warm.discard(peer)
        self._not_before_s.pop(peer, None)
        self.problems.pop(peer, None)
        if (task := self._tasks.pop(peer, None)) is not None:
            task.cancel()

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _warm_up(self, peer: str, metadata: bytes) -> None:
        try:
            other = Identity.load(metadata)
            check(other.facts, self._own.facts)
            async with asyncio.timeout(WARM_S):
                await self._try_out(other)
            self._warm.add(peer)
            self.problems.pop(peer, None)
            log.info("%s: KV can be pulled from it", peer)
        except (Incompatible, HttpError, HandoffError, TimeoutError, *UNREADABLE) as error:
            text = f"no KV can be pulled from {peer}: {str(error) or 'it takes too long'}"
            if self.problems.get(peer) != text:
                log.error(text)
            self.problems[peer] = text
            again_s = math.inf if isinstance(error, Incompatible) else AGAIN_S
            self._not_before_s[peer] = self._loop.time() + again_s
        finally:
            if self._tasks.get(peer) is asyncio.current_task():  # else disconnected, and perhaps connected again
                del self._tasks[peer]

    async def _try_out(self, other: Identity) -> None:
        prompt = [1 + i % 7 for i in range(other.facts.block_tokens + 1)]
        source = HttpClient(Address.parse(other.url))
        try:
            handoff = await self._prefill(source, other.facts.model, prompt)
            theirs, ours = await compatibility_hash(orjson.loads(handoff)), await self._hash(prompt)
            if theirs != ours:
                raise Incompatible(
                    f"the servers' compatibility hashes differ ({theirs[:12]}, here {ours[:12]}): vLLM, model, dtype, attention "
                    "backend, cache dtype and connector must be the same on both"
                )
            body = completion(self._own.facts.model, [*prompt, prompt[0]], PROBE, 1, 1)
            found = await self._ask(self._client, body | self._handoff.decode_fields(handoff))
            if not piece(found).tokens:
                raise AnswerError("vLLM produced no token on the KV that it pulled")
        except HandshakeError as error:
            raise HttpError(str(error)) from None
        finally:
            source.close()

    async def _hash(self, prompt: list[int]) -> str:
        """Of our own server, which says where its side channel is only with a prefill; those blocks are free after a lease."""
        if not self._own_hash:
            own = await self._prefill(self._client, self._own.facts.model, prompt)
            self._own_hash = await compatibility_hash(orjson.loads(own))
        return self._own_hash

    async def _prefill(self, client: HttpClient, model: str, prompt: list[int]) -> bytes:
        answer = await self._ask(client, completion(model, prompt, PROBE, 0, 1) | self._handoff.prefill_fields())
        return self._handoff.collect(answer)

    async def _ask(self, client: HttpClient, body: dict[str, Any]) -> dict[str, Any]:
        _, data = await client.ask(COMPLETIONS, orjson.dumps(body), WARM_S)
        return parse(data)


def check(source: Facts, own: Facts) -> None:
    """Raise Incompatible where two servers differ in what they say of themselves."""
    for name in ("version", "block_tokens", "cache_dtype"):
        theirs, ours = getattr(source, name), getattr(own, name)
        if theirs != ours:
            raise Incompatible(f"{name} is {theirs} there and {ours} here: start both servers alike")
