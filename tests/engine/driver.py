"""Runs an engine to the end, recounting its blocks after every call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.core.sampling import Finish, Sampling
from workers.engine.base import Emission, EngineRequest, Key, Phase
from workers.engine.torch import TorchEngine


def greedy(count: int) -> Sampling:
    return Sampling(max_tokens=count, temperature=0.0, ignore_eos=True)


def request(
    name: str,
    tokens: Sequence[int],
    sampling: Sampling,
    first_index: int = 0,
    phase: Phase = Phase.BOTH,
    attempt: int = 0,
) -> EngineRequest:
    return EngineRequest(Key(name, attempt), tokens, first_index, sampling, phase)


class Outputs:
    """Tokens, log-probabilities and ends per request, checked for gaps and repeats."""

    def __init__(self) -> None:
        self.tokens: dict[str, list[int]] = {}
        self.finish: dict[str, Finish] = {}
        self.cached: dict[str, int] = {}
        self.logprobs: dict[str, list[Any]] = {}

    def add(self, emissions: Iterable[Emission]) -> None:
        for emission in emissions:
            name = emission.key.request_id
            assert name not in self.finish, f"{name} spoke after its end"
            tokens = self.tokens.setdefault(name, [])
            assert emission.first_index == len(tokens)
            tokens += emission.tokens
            self.logprobs.setdefault(name, []).extend(emission.logprobs)
            self.cached[name] = self.cached.get(name, 0) + emission.cached_tokens
            if emission.finish is not None:
                self.finish[name] = emission.finish


def drain(engine: TorchEngine, outputs: Outputs | None = None, steps: int = 100_000) -> Outputs:
    """Step until nothing is left to do."""
    outputs = outputs or Outputs()
    while engine.has_work():
        outputs.add(engine.step())
        engine.check_integrity()
        steps -= 1
        assert steps > 0, "the engine does not come to an end"
    return outputs


def run(engine: TorchEngine, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
    """Tokens of all prompts, submitted together."""
    for i, prompt in enumerate(prompts):
        engine.submit(request(f"{engine.stats.steps}-{i}", prompt, sampling))
    names = [key.request_id for key in engine._live]
    outputs = drain(engine)
    assert engine.stats.kv_used_blocks == 0
    return [outputs.tokens[name] for name in names]
