"""One worker under the linear model of WAIT: the fluid equilibrium, the stability limit, and what lies beyond it.

The paper's request of l prompt and l' output tokens passes l' + 1 iterations, the first of which is its prefill. Here the prefill
iteration also gives the first token, so l' + 1 output tokens make the same request: it works on l + s tokens in stage s = 0..l'.
Source: WAIT §2, §3 and its check of one type, §9.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from orchestrator.core.config.simulation import LatencyKind, LinearLatency
from orchestrator.simulator.run import Result
from tests.simulator.clusters import cluster, poisson, pool, run

PROMPT, OUTPUT, BASE_S, PER_TOKEN_S, CAPACITY_TOKENS = 64, 100, 12e-3, 0.43e-6, 137_000
WORK = (OUTPUT + 1) * (PROMPT + OUTPUT / 2)


@dataclass(frozen=True, slots=True)
class Run:
    result: Result
    until_s: float

    def completed_per_s(self, after_s: float = 0.0) -> float:
        ends = np.array([o.end_s for o in self.result.outcomes])
        return float(((ends > after_s) & (ends <= self.until_s)).sum() / (self.until_s - after_s))

    @property
    def latency_s(self) -> float:
        return float(np.mean([o.e2e_s for o in self.result.outcomes if o.end_s <= self.until_s and o.e2e_s]))

    @property
    def preemptions(self) -> int:
        return self.result.document["kv"]["preemptions"]


def limit_per_s(size: float = 1.0) -> float:
    """The rate at which the equilibrium fills the memory.

    A system of `size` has that share of the memory, and a token costs 1 / `size` of the time: iterations take as long.
    """
    return size * CAPACITY_TOKENS / (BASE_S * WORK + PER_TOKEN_S * WORK * CAPACITY_TOKENS)


def fluid(rate: float) -> tuple[float, float]:
    """Tokens in memory and seconds of an iteration at equilibrium."""
    busy = PER_TOKEN_S * rate * WORK
    return BASE_S * rate * WORK / (1 - busy), BASE_S / (1 - busy)


def serve(load: float, until_s: float, size: float = 1.0) -> Run:
    made = cluster(
        pool("both", 1),
        budget=2**20,
        engine={"max_batch": 4096, "block_tokens": 1, "kv_blocks": int(CAPACITY_TOKENS * size)},
        simulation={
            "latency": LatencyKind.LINEAR,
            "linear": LinearLatency(BASE_S * 1e3, PER_TOKEN_S * 1e6 / size),
        },
    )
    rate = load * limit_per_s(size)
    planned = [p for p in poisson(rate, int(1.1 * rate * until_s) + 100, PROMPT, OUTPUT + 1) if p.at_s < until_s]
    return Run(run(made, planned), until_s)


def test_the_stability_limit_is_that_of_the_paper() -> None:
    assert WORK == 11_514
    assert limit_per_s() == pytest.approx(167.8, abs=0.05)


def test_at_nine_tenths_of_the_limit_it_is_the_reference_run() -> None:
    """145.3 requests per second and 4.70 s on average over 120 s of one seed, nothing evicted."""
    found = serve(0.9, 120.0)
    assert found.completed_per_s() == pytest.approx(145.3, rel=0.03)
    assert found.latency_s == pytest.approx(4.70, rel=0.1)
    assert found.preemptions == 0


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_moderate_load_settles_at_the_fluid_equilibrium(load: float) -> None:
    until_s, warm_s = 40.0, 10.0
    found = serve(load, until_s)
    tokens, iteration_s = fluid(load * limit_per_s())

    kv = found.result.timeline.workers["both-0"]["kv"]
    held = np.diff(kv.time_s)
    steady = (kv.time_s[:-1] > warm_s) & (kv.time_s[1:] < until_s)
    mean_tokens = np.average(kv.value[:-1][steady], weights=held[steady]) * CAPACITY_TOKENS
    assert mean_tokens == pytest.approx(tokens, rel=0.05)

    steps_s = found.result.cluster.members[0].worker.meter.steps.seconds()
    starts = np.cumsum(steps_s) - steps_s
    assert steps_s[(starts > warm_s) & (starts < until_s - warm_s)].mean() == pytest.approx(iteration_s, rel=0.05)


def test_beyond_the_limit_requests_are_preempted_and_throughput_stays_at_the_limit() -> None:
    """An eighth of the system, at 0.8 and at 1.05 of its limit.

    A preempted request keeps the tokens that it has and recomputes its context in one iteration, which the linear model makes as
    cheap as any. So less is lost than by the paper's eviction, which starts requests anew: there 0.79 of the limit remain.
    """
    size, until_s, warm_s = 1 / 8, 80.0, 20.0
    limit = limit_per_s(size)
    below, beyond = (serve(load, until_s, size) for load in (0.8, 1.05))
    assert below.preemptions == 0 < beyond.preemptions
    assert below.completed_per_s(warm_s) == pytest.approx(0.8 * limit, rel=0.05)
    assert beyond.completed_per_s(warm_s) == pytest.approx(limit, rel=0.05)
    assert beyond.completed_per_s(warm_s) < 0.98 * 1.05 * limit
