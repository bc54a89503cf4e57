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
PACE_S = 0.015


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


def decode_bound(
    rate_rps: float, refuse_late: bool, heartbeat_ms: float = 50.0, pace_s: float = PACE_S
) -> list[Outcome]:
    """Four workers for short prompts, one for answers of some two hundred tokens: decoding is what gets slow."""
    made = spec(
        [("prefill", 4), ("decode", 1)],
        engine={"max_batch": 512},
        front_door={"refuse_late": refuse_late, "max_concurrent": 4096, "max_queue": 4096},
        simulation={"heartbeat_ms": heartbeat_ms},
    )
    made = replace(made, spec=replace(made.spec, tiers=(Tier("default", 1e6, 1e3 * pace_s),)))
    rng = np.random.default_rng(1)
    times, prompts = np.cumsum(rng.exponential(1 / rate_rps, 600)), rng.integers(200, 1000, 600)
    outputs = rng.integers(100, 300, 600)
    planned = [Planned(i, float(times[i]), int(prompts[i]), int(outputs[i])) for i in range(600)]
    return simulate(made, planned).outcomes


def at_pace(found: list[Outcome]) -> int:
    return sum(o.tpot_s is not None and o.tpot_s <= PACE_S for o in found)


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


def test_a_decode_worker_that_keeps_its_pace_refuses_nobody() -> None:
    assert all(o.verdict is Verdict.COMPLETED for o in decode_bound(20.0, True, pace_s=2 * PACE_S))


@pytest.mark.parametrize(("rate_rps", "heartbeat_ms"), [(100.0, 50.0), (200.0, 50.0), (100.0, 500.0)])
def test_where_decoding_is_overloaded_those_let_in_keep_their_pace(rate_rps: float, heartbeat_ms: float) -> None:
    with_refusal = decode_bound(rate_rps, True, heartbeat_ms)
    without = decode_bound(rate_rps, False, heartbeat_ms)
    assert all(o.verdict is Verdict.COMPLETED for o in without)
    assert at_pace(without) < 0.5 * len(without)
    completed = [o for o in with_refusal if o.verdict is Verdict.COMPLETED]
    refused = [o for o in with_refusal if o.verdict is Verdict.REJECTED]
    assert refused and len(completed) + len(refused) == len(with_refusal)
    assert all("a token would take about" in o.error and "default promises 15 ms" in o.error for o in refused)
    assert at_pace(completed) >= 0.95 * len(completed)


def answers_at_once(last_at_s: float, goal_ms: float) -> Verdict:
    """What becomes of a request after 64 others have decoded for that long, in which nobody came or went."""
    made = spec([("prefill", 1), ("decode", 1)], front_door={"refuse_late": True})
    made = replace(made, spec=replace(made.spec, tiers=(Tier("default", 1e6, 1e6), Tier("quick", 1e6, goal_ms))))
    planned = [Planned(i, 0.0, 200, 3000) for i in range(64)] + [Planned(64, last_at_s, 200, 2, tier="quick")]
    return next(o.verdict for o in simulate(made, planned).outcomes if o.tier == "quick")


def test_the_pace_of_a_long_run_of_steps_is_heard() -> None:
    assert answers_at_once(12.0, 5.0) is Verdict.REJECTED
    assert answers_at_once(12.0, 100.0) is Verdict.COMPLETED


def test_workers_report_every_token() -> None:
    planned = [Planned(i, 0.01 * i, 300, 1 + i % 40) for i in range(100)]
    result = simulate(cluster(refuse_late=False), planned)
    counted = [m.worker.meter.first_tokens + m.worker.decoding.generated_tokens for m in result.cluster.members]
    assert counted == [100, sum(i % 40 for i in range(100))]
