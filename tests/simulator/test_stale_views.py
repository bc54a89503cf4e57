"""What a router does not know costs something, and what its ledger knows costs nothing however old the reports are."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.decisions import Placement
from orchestrator.core.request import RequestView
from orchestrator.simulator.cluster import SimulatedCluster
from orchestrator.simulator.jobs import jobs
from orchestrator.simulator.run import Result
from orchestrator.simulator.scenario import scenario
from orchestrator.workload.schedule import Planned
from tests.simulator.clusters import cluster, pool, run, ttft_s


def mixture(rate: float, count: int) -> list[Planned]:
    """Poisson arrivals; prompts from 256 to 8192 tokens, one in ten of them long; outputs of 2 to 600 tokens."""
    draw = np.random.default_rng(5)
    at_s = np.cumsum(draw.exponential(1 / rate, count))
    prompts = np.where(draw.random(count) < 0.1, 8192, draw.integers(256, 2048, count))
    outputs = draw.integers(2, 600, count)
    return [Planned(i, float(at_s[i]), int(prompts[i]), int(outputs[i])) for i in range(count)]


def serve(routing: str = "least_load", seed: int = 0, **simulation: float) -> Result:
    made = cluster(pool("prefill", 4), pool("decode", 2), routing=routing, simulation=simulation)
    return run(made, mixture(45.0, 400), seed=seed)


def mean_ttft_s(result: Result) -> float:
    return float(ttft_s(result.outcomes).mean())


def test_the_ledger_covers_what_old_reports_miss() -> None:
    """One front door places everything, so prompts that wait are all in its ledger: the age of reports changes nothing."""
    fresh = [mean_ttft_s(serve(heartbeat_ms=ms)) for ms in (50.0, 500.0, 2000.0)]
    assert fresh == pytest.approx([mean_ttft_s(serve(heartbeat_ms=0.0))] * 3, rel=1e-9)
    assert fresh[0] < 0.9 * mean_ttft_s(serve("round_robin"))


def test_no_load_seems_to_be_that_of_others() -> None:
    """What is settled between a heartbeat and a placement must not look like prompts of another front door."""
    made = cluster(pool("prefill", 4), pool("decode", 2))
    simulated = SimulatedCluster(scenario(made), 0)
    place, over = simulated.router.place_prefill, list[int]()

    def watched(request: RequestView) -> Placement:
        view, ledger = simulated.router.view, simulated.router.ledger
        seen = [int(tokens) for tokens in view.outstanding_prefill_tokens]
        over.append(sum(seen) - sum(ledger.load(name).prefill_tokens for name in view.names))
        return place(request)

    simulated.router.place_prefill = watched  # type: ignore[method-assign]
    what = simulated.scenario
    simulated.loop.push(
        simulated.front_door.open(jobs(mixture(45.0, 300), what.spec, what.block_tokens, what.max_tokens))
    )
    simulated.loop.run(lambda: len(simulated.front_door.over) == 300)
    assert len(over) >= 300 and set(over) == {0}


def test_noise_in_what_workers_report_hurts() -> None:
    """Reports twice too high now and then, which stay so for a heartbeat, send prompts to longer queues and decodes to one worker."""
    exact = mean_ttft_s(serve(heartbeat_ms=500.0))
    noisy = [mean_ttft_s(serve(heartbeat_ms=500.0, view_noise=1.0, seed=seed)) for seed in (0, 1, 2)]
    assert min(noisy) > exact, (exact, noisy)
    assert np.mean(noisy) > 1.05 * exact, (exact, noisy)


def test_turns_do_not_look_at_loads() -> None:
    """As long as no report says that the memory is full."""
    exact, noisy = serve("round_robin"), serve("round_robin", view_noise=0.1)
    assert exact.outcomes == noisy.outcomes
    assert serve("least_load").outcomes != serve("least_load", view_noise=0.1).outcomes


@pytest.mark.parametrize("simulation", [{"heartbeat_ms": 2000.0}, {"view_noise": 1.0}, {"noise": 0.2}])
def test_the_same_seed_makes_the_same_run(simulation: dict[str, float]) -> None:
    first, again = serve(seed=3, **simulation), serve(seed=3, **simulation)
    assert first.outcomes == again.outcomes
    if "heartbeat_ms" not in simulation:
        assert serve(seed=4, **simulation).outcomes != first.outcomes
