"""Two engines under seeded random calls: no block is lost, and every answer is right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from orchestrator.core.sampling import Finish
from tests.engine.conftest import OUTPUT_TOKENS, Case
from tests.engine.driver import greedy, request
from workers.engine.base import Emission, Full, Key, KvBlocks, Phase
from workers.engine.torch import TorchEngine

GREEDY = greedy(OUTPUT_TOKENS)


@dataclass
class Journey:
    """One request of the test and how far it is."""

    prompt: int
    tokens: list[int] = field(default_factory=list)
    source: KvBlocks | None = None
    target: KvBlocks | None = None
    pinned: bool = False
    finish: Finish | None = None


class World:
    def __init__(self, case: Case, prefill: TorchEngine, decode: TorchEngine, seed: int) -> None:
        self.case, self.prefill, self.decode = case, prefill, decode
        self.random = np.random.default_rng(seed)
        self.now_s = 0.0
        self.journeys: dict[Key, Journey] = {}
        self.finished = 0
        self.count = 0

    def clock(self) -> float:
        return self.now_s

    def any_key(self) -> Key | None:
        keys = list(self.journeys)
        return keys[self.random.integers(len(keys))] if keys else None

    def start(self) -> None:
        self.count += 1
        prompt = int(self.random.integers(len(self.case.prompts)))
        key = Key(str(self.count), 0)
        tokens = self.case.prompts[prompt]
        journey = Journey(prompt)
        match self.random.integers(3):
            case 0:
                self.prefill.submit(request(key.request_id, tokens, GREEDY))
            case 1:
                self.decode.submit(request(key.request_id, tokens, GREEDY))
            case _:
                try:
                    journey.target = self.decode.reserve(key, len(tokens))
                except Full:
                    return
                self.prefill.submit(request(key.request_id, tokens, GREEDY, phase=Phase.PREFILL))
        self.journeys[key] = journey

    def step(self) -> None:
        for engine in (self.prefill, self.decode):
            for emission in engine.step():
                self.receive(emission)

    def receive(self, emission: Emission) -> None:
        journey = self.journeys[emission.key]
        assert emission.first_index == len(journey.tokens)
        journey.tokens += emission.tokens
        journey.source = emission.lease or journey.source
        if emission.finish is not None:
            assert journey.tokens == self.case.answers[journey.prompt]
            self.finished += 1
            self.forget(emission.key)

    def forget(self, key: Key) -> None:
        if self.journeys.pop(key).pinned:
            self.decode.unpin(key)

    def pull(self) -> None:
        """Copy into a pinned reservation, in two calls: other things happen while a transfer runs."""
        key = self.any_key()
        journey = self.journeys[key] if key else None
        if key is None or journey is None or journey.source is None or journey.target is None:
            return
        if not journey.pinned:
            self.decode.pin(key)
            journey.pinned = True
            return
        self.decode.pool.data[list(journey.target.blocks)] = self.prefill.pool.data[list(journey.source.blocks)]
        readable = self.prefill.pool.generations[list(journey.source.blocks)].tolist() == list(
            journey.source.generations
        )
        self.decode.unpin(key)
        journey.pinned = False
        self.prefill.release(key)
        if readable:
            tokens = self.case.prompts[journey.prompt] + journey.tokens
            self.decode.attach(request(key.request_id, tokens, GREEDY, first_index=1), journey.source.tokens)
            journey.target = None
        else:
            self.cancel(key)

    def cancel(self, key: Key | None) -> None:
        if key is not None:
            self.prefill.cancel(key)
            self.decode.cancel(key)
            self.decode.check_integrity()
            self.forget(key)

    def expire(self) -> None:
        self.now_s += float(self.random.uniform(0, 4))
        for engine, other in ((self.prefill, self.decode), (self.decode, self.prefill)):
            for key in engine.expire(self.now_s):
                other.cancel(key)
                if key in self.journeys:
                    self.forget(key)

    def check(self) -> None:
        self.prefill.check_integrity()
        self.decode.check_integrity()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_leaks(llama: Case, engine_of: Any, seed: int) -> None:
    clock: list[World] = []
    options = {"clock": lambda: clock[0].now_s if clock else 0.0, "lease_s": 20.0, "prefix_cache": seed % 2 == 0}
    prefill = engine_of(llama, kv_blocks=24, prefill_budget_tokens=48, max_batch=5, **options)
    decode = engine_of(llama, kv_blocks=31, prefill_budget_tokens=30, **options)
    world = World(llama, prefill, decode, seed)
    clock.append(world)
    for _ in range(900):
        draw = world.random.random()
        if draw < 0.10 and len(world.journeys) < 14:
            world.start()
        elif draw < 0.30:
            world.pull()
        elif draw < 0.315:
            world.cancel(world.any_key())
        elif draw < 0.34:
            world.expire()
        else:
            world.step()
        world.check()
    assert world.finished > 20, world.finished
    assert prefill.stats.preemptions + decode.stats.preemptions > 0
    while world.journeys:
        world.step()
        world.pull()
        if not (prefill.has_work() or decode.has_work()):
            world.expire()
        world.check()
    for engine in (prefill, decode):
        assert engine.stats.kv_used_blocks == engine.stats.running == engine.stats.waiting == 0
        assert engine.stats.waiting_prefill_tokens == engine.stats.decode_context_tokens == 0
