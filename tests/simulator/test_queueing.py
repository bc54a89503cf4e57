"""The prefill stage alone is a queue that textbooks solve.

Simulated waits are compared, request by request, with the recursion of Lindley on the same arrivals: equal but for rounding. The
recursion in turn meets the closed form of its means on a run far longer than needs to be simulated.
Source: BestServe §11.3 for M/D/1.
"""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.config import Cluster
from orchestrator.performance.batch import Batch
from orchestrator.simulator.scenario import scenario
from orchestrator.workload.schedule import Planned
from tests.simulator.clusters import Floats, cluster, poisson, pool, run, ttft_s

PROMPT, LONG_PROMPT = 2048, 6144
SIMULATED, RECURRED = 1500, 3_000_000


def waits_s(at_s: Floats, service_s: Floats) -> Floats:
    """Lindley's recursion, unrolled: the end of n is the latest over k <= n of (arrival of k + service of k to n)."""
    before = np.cumsum(service_s) - service_s
    return np.maximum.accumulate(at_s - before) + before - at_s


def one_at_a_time(workers: int = 1, routing: str = "least_load") -> tuple[Cluster, float, float]:
    made = cluster(pool("prefill", workers), routing=routing, engine={"max_batch": 1})
    truth = scenario(made).devices[0].truth
    return made, *(float(truth.iteration_s(Batch.prefill(1, tokens))) for tokens in (PROMPT, LONG_PROMPT))


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9])
def test_one_prompt_at_a_time_is_m_d_1(load: float) -> None:
    made, prompt_s, _ = one_at_a_time()
    planned = poisson(load / prompt_s, SIMULATED, PROMPT, 1)
    simulated = ttft_s(run(made, planned).outcomes) - prompt_s
    at_s = np.array([request.at_s for request in planned])
    assert simulated == pytest.approx(waits_s(at_s, np.full(SIMULATED, prompt_s)), abs=1e-9)

    many_s = np.cumsum(np.random.default_rng(2).exponential(prompt_s / load, RECURRED))
    expected_s = load * prompt_s / (2 * (1 - load))
    assert waits_s(many_s, np.full(RECURRED, prompt_s)).mean() == pytest.approx(expected_s, rel=0.03)


def test_prompts_of_two_sizes_are_m_g_1() -> None:
    """Source: Pollaczek and Khinchine: the mean wait is λ·E[S²] / (2(1 - ρ))."""
    made, short_s, long_s = one_at_a_time()
    draw = np.random.default_rng(3)
    services_s = np.where(draw.random(RECURRED) < 0.25, long_s, short_s)
    rate = 0.8 / services_s.mean()
    at_s = np.cumsum(draw.exponential(1 / rate, RECURRED))
    waits = waits_s(at_s, services_s)
    assert waits.mean() == pytest.approx(rate * (services_s**2).mean() / (2 * (1 - 0.8)), rel=0.03)

    sizes = np.where(services_s[:SIMULATED] == long_s, LONG_PROMPT, PROMPT)
    planned = [Planned(i, float(at_s[i]), int(size), 1) for i, size in enumerate(sizes)]
    simulated = ttft_s(run(made, planned).outcomes) - services_s[:SIMULATED]
    assert simulated == pytest.approx(waits[:SIMULATED], abs=1e-9)


def test_workers_in_turn_are_separate_queues() -> None:
    """Each of three gets every third arrival of the Poisson process."""
    made, prompt_s, _ = one_at_a_time(3, "round_robin")
    planned = poisson(3 * 0.8 / prompt_s, SIMULATED, PROMPT, 1)
    ttft_of_s = {round(o.end_s - o.ttft_s, 9): o.ttft_s for o in run(made, planned).outcomes if o.ttft_s}
    for turn in range(3):
        at_s = np.array([request.at_s for request in planned[turn::3]])
        found = np.array([ttft_of_s[round(float(t), 9)] for t in at_s]) - prompt_s
        assert found == pytest.approx(waits_s(at_s, np.full(len(at_s), prompt_s)), abs=1e-9)


def test_a_hop_delays_every_first_token_and_nothing_else() -> None:
    made, prompt_s, _ = one_at_a_time()
    planned = poisson(0.8 / prompt_s, 500, PROMPT, 1)
    near = ttft_s(run(made, planned).outcomes)
    farther = cluster(pool("prefill", 1), engine={"max_batch": 1}, simulation={"hop_ms": 3.0})
    assert ttft_s(run(farther, planned).outcomes) == pytest.approx(near + 3e-3, abs=1e-9)
