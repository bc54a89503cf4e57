"""Requests that would come too late are refused, so that those that are let in keep their goals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.core.config import Cluster, Tier
from orchestrator.report.outcome import Outcome, Verdict
from orchestrator.simulator.run import simulate
from orchestrator.workload.schedule import Planned
from tests.simulator.builders import spec

GOAL_S = 2.0


def cluster(refuse_late: bool) -> Cluster:
    made = spec([("prefill", 1), ("decode", 1)], front_door={"refuse_late": refuse_late})
    return replace(made, spec=replace(made.spec, tiers=(Tier("default", 1e3 * GOAL_S, 1e3),)))


def outcomes(rate_rps: float, refuse_late: bool) -> list[Outcome]:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(1 / rate_rps, 400))
    planned = [
        Planned(i, float(t), int(n), 16)
        for i, (t, n) in enumerate(zip(times, rng.integers(200, 4000, 400), strict=True))
    ]
    return simulate(cluster(refuse_late), planned).outcomes


def in_time(found: list[Outcome]) -> int:
    return sum(o.ttft_s is not None and o.ttft_s <= GOAL_S for o in found)


def test_an_idle_cluster_refuses_nobody() -> None:
    assert all(o.verdict is Verdict.COMPLETED for o in outcomes(1.0, True))


@pytest.mark.parametrize("rate_rps", [60.0, 120.0])
def test_under_overload_those_let_in_are_in_time(rate_rps: float) -> None:
    with_refusal, without = outcomes(rate_rps, True), outcomes(rate_rps, False)
    assert all(o.verdict is Verdict.COMPLETED for o in without)
    completed = [o for o in with_refusal if o.verdict is Verdict.COMPLETED]
    assert {o.verdict for o in with_refusal} == {Verdict.COMPLETED, Verdict.REJECTED}
    assert in_time(completed) >= 0.95 * len(completed)
    assert in_time(with_refusal) > 2 * in_time(without)
