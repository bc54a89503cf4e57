"""Two engines under random operations and faults: the ledger is recounted after each, and whatever is said is right."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from orchestrator.core.sampling import Finish
from tests.vllm.driver import GREEDY, LEASE_S, Driven, request
from tests.vllm.server_double import Behave, answer
from workers.engine.base import Emission, EngineRequest, Full, Key, KvBlocks, Phase

FAULTS = (
    Behave(),
    Behave(at_once=3),
    Behave(finish=(2, "stop")),
    Behave(status=503),
    Behave(status=500),
    Behave(hang_up_after=2),
    Behave(end_after=1),
    Behave(stop_after=2),
    Behave(silent=True),
)


@dataclass
class Journey:
    """One request, what has come of it, and its lease."""

    request: EngineRequest
    tokens: list[int]
    lease: KvBlocks | None = None
    over: bool = False


class World:
    def __init__(self, pair: tuple[Driven, Driven], seed: int) -> None:
        self.prefill, self.decode = pair
        self.random = np.random.default_rng(seed)
        self.journeys: dict[Key, Journey] = {}
        self.count = self.finished = 0

    def one(self) -> Journey | None:
        journeys = [j for j in self.journeys.values() if not j.over]
        return journeys[self.random.integers(len(journeys))] if journeys else None

    def start(self) -> None:
        self.count += 1
        prompt = self.random.integers(1, 100, self.random.integers(1, 20)).tolist()
        sampling = replace(GREEDY, max_tokens=int(self.random.integers(1, 9)))
        kind = self.random.integers(3)
        phase = Phase.PREFILL if kind else Phase.BOTH
        made = request(str(self.count), prompt, sampling, phase=phase)
        if kind:
            try:
                self.decode.engine.reserve(made.key, len(prompt))
            except Full:
                return
        self.journeys[made.key] = Journey(made, [])
        self.prefill.engine.submit(made)

    def attach(self) -> None:
        journey = self.one()
        if journey is None or journey.lease is None:
            return
        tokens = [*journey.request.tokens, *journey.tokens]
        going = replace(journey.request, tokens=tokens, first_index=len(journey.tokens), phase=Phase.BOTH)
        lease, journey.lease = journey.lease, None
        self.decode.engine.pull(going, lease)
        if self.random.integers(2):
            self.prefill.engine.release(going.key)

    def cancel(self) -> None:
        if (journey := self.one()) is not None:
            journey.over = True
            for driven in (self.prefill, self.decode):
                driven.engine.cancel(journey.request.key)

    def fault(self) -> None:
        driven = (self.prefill, self.decode)[self.random.integers(2)]
        driven.double.script.append(replace(FAULTS[self.random.integers(len(FAULTS))]))

    def expire(self) -> None:
        for driven in (self.prefill, self.decode):
            for key in driven.engine.expire(time.monotonic() + LEASE_S + 1):
                self.journeys[key].over = True
                for other in (self.prefill, self.decode):
                    other.engine.cancel(key)

    async def turns(self) -> None:
        for _ in range(self.random.integers(1, 40)):
            await asyncio.sleep(0)

    def receive(self) -> None:
        for driven in (self.prefill, self.decode):
            for emission in driven.engine.step():
                self._received(emission)

    def _received(self, emission: Emission) -> None:
        journey = self.journeys[emission.key]
        if journey.over:
            return
        if emission.refusal is not None:
            journey.over = True
            for driven in (self.prefill, self.decode):
                driven.engine.cancel(emission.key)
            return
        assert emission.first_index == len(journey.tokens)
        journey.tokens += emission.tokens
        assert journey.tokens == answer(journey.request.tokens, len(journey.tokens))
        journey.lease = emission.lease or journey.lease
        if emission.finish is not None:
            most = journey.request.sampling.max_tokens
            assert emission.finish is Finish.STOP or len(journey.tokens) == most
            journey.over = True
            self.finished += 1
            for driven in (self.prefill, self.decode):
                driven.engine.cancel(emission.key)

    def check(self) -> None:
        for driven in (self.prefill, self.decode):
            driven.engine.check_integrity()


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_and_every_answer_is_right(pair: tuple[Driven, Driven], seed: int) -> None:
    world = World(pair, seed)
    rare = np.array([6, 6, 2, 2, 0.3])
    for _ in range(120):
        operation = (world.start, world.attach, world.cancel, world.fault, world.expire)[
            world.random.choice(5, p=rare / rare.sum())
        ]
        operation()
        world.check()
        await world.turns()
        world.receive()
        world.check()
    assert world.finished > 0
    for journey in world.journeys.values():
        for driven in pair:
            driven.engine.cancel(journey.request.key)
    world.check()
    for driven in pair:
        stats = driven.engine.stats
        assert (stats.running, stats.waiting, stats.kv_used_blocks) == (0, 0, 0)
        assert (stats.leased_blocks, stats.reserved_blocks) == (0, 0)
