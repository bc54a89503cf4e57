"""Drives a VllmEngine as a worker does, and collects what it emits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.core.sampling import Sampling
from tests.vllm.server_double import ServerDouble
from workers.engine.base import Emission, EngineRequest, Key, Phase
from workers.engine.vllm.address import Address
from workers.engine.vllm.client import HttpClient
from workers.engine.vllm.engine import VllmEngine
from workers.engine.vllm.nixl import NixlHandoff
from workers.engine.vllm.prefixes import AssumedPrefixes, Prefixes

GREEDY = Sampling(max_tokens=8, temperature=0.0)
LEASE_S = 30.0


def request(
    name: str,
    tokens: list[int],
    sampling: Sampling = GREEDY,
    first_index: int = 0,
    phase: Phase = Phase.BOTH,
    attempt: int = 0,
) -> EngineRequest:
    return EngineRequest(Key(f"front/{name}", attempt), tokens, first_index, sampling, phase)


class Driven:
    """An engine with everything that it has emitted."""

    def __init__(self, double: ServerDouble, prefixes: Prefixes | None = None) -> None:
        self.double = double
        self.client = HttpClient(Address.parse(double.url))
        self.engine = VllmEngine(
            self.client,
            "m",
            NixlHandoff(),
            kv_blocks=double.kv_blocks - 1,
            block_tokens=double.block_tokens,
            max_model_len=double.max_model_len,
            lease_s=LEASE_S,
            prefixes=prefixes or AssumedPrefixes(double.block_tokens, double.kv_blocks),
            streams_tokens=double.scale_out,
        )
        self.emissions: list[Emission] = []
        self._came = asyncio.Event()
        self.engine.wake = self._came.set

    async def until(self, condition: Callable[[], bool]) -> None:
        """Step whenever there is something, until the condition holds."""
        async with asyncio.timeout(10):
            while True:
                self.emissions += self.engine.step()
                if condition():
                    return
                self._came.clear()
                await self._came.wait()

    async def ended(self, *requests: EngineRequest) -> list[Emission]:
        """Everything that was emitted once all of them are at an end or leased, of the last named."""
        keys = {one.key for one in requests}
        await self.until(lambda: keys <= {e.key for e in self.emissions if e.finish or e.refusal or e.lease})
        return self.of(requests[-1])

    async def run(self, one: EngineRequest) -> list[Emission]:
        self.engine.submit(one)
        return await self.ended(one)

    def of(self, one: EngineRequest) -> list[Emission]:
        return [e for e in self.emissions if e.key == one.key]

    def close(self) -> None:
        self.client.close()


@asynccontextmanager
async def driving(double: ServerDouble, **options: Any) -> AsyncIterator[Driven]:
    """An engine that is recounted at the end."""
    driven = Driven(double, **options)
    try:
        yield driven
        driven.engine.check_integrity()
    finally:
        driven.close()


def tokens_of(emissions: list[Emission]) -> list[int]:
    """The tokens, after checking that their indices follow one another."""
    tokens: list[int] = []
    first = emissions[0].first_index
    for emission in emissions:
        assert emission.first_index == first + len(tokens), "a gap or a repetition"
        assert not emission.logprobs or len(emission.logprobs) == len(emission.tokens)
        tokens += emission.tokens
    return tokens
