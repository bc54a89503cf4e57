"""Workers die, clients give up and leases run out at every possible moment; requests end once all the same."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest

from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.config.simulation import LatencyKind, LinearLatency
from orchestrator.core.decisions import Reason
from orchestrator.policies.scaling.base import Resize
from orchestrator.report.outcome import Verdict
from orchestrator.simulator.controller import Fault
from orchestrator.simulator.run import Options, Result, simulate
from orchestrator.workload.schedule import Planned
from tests.simulator.builders import ADVERSARIES, World, run_world, spec

TRACE = [(0.0, 600, 20), (0.003, 600, 20), (0.006, 30, 1), (0.02, 500, 12)]


def run(
    layout: list[tuple[str, int]],
    *,
    faults: tuple[Fault, ...] = (),
    trace: list[tuple[float, int, int]] = TRACE,
    blocks: int = 400,
    adverse: frozenset[str] = frozenset(),
    lease_s: float = 30.0,
    **front_door: Any,
) -> Result:
    """Steps take 5 ms; a context of 600 tokens takes 63 ms over the network."""
    cluster = spec(
        layout,
        engine={"kv_blocks": blocks},
        simulation={
            "latency": LatencyKind.LINEAR,
            "linear": LinearLatency(base_ms=5.0, per_context_token_us=0.0),
            "link": "ethernet-10g",
            "tick_ms": 10.0,
            "hop_ms": 0.0,
        },
        front_door=front_door,
        lease_s=lease_s,
    )
    planned = tuple(Planned(i, *request) for i, request in enumerate(trace))
    return run_world(World(cluster, planned, faults, adverse=adverse))[0]


def completed(result: Result) -> int:
    return sum(o.verdict is Verdict.COMPLETED for o in result.outcomes)


@pytest.mark.parametrize("worker", ["prefill0-0", "decode1-0"])
def test_either_side_of_a_handoff_may_die_at_any_time(worker: str) -> None:
    again = 0
    for at_s in np.arange(0.0, 0.25, 0.005):
        result = run([("prefill", 1), ("decode", 1)], faults=(Fault(worker, float(at_s), 0.02),))
        assert completed(result) == len(TRACE), at_s
        assert [row["state"] for row in result.document["workers"]].count("dead") == 1
        again += sum(job.attempt - 1 for job in result.cluster.front_door.over)
    assert again > 20


def test_a_request_may_time_out_in_any_step_even_its_last() -> None:
    kinds = set()
    for timeout_s in np.arange(0.004, 0.125, 0.0017):
        result = run([("both", 1)], trace=[(0.0, 600, 20), (0.0011, 40, 20)], request_timeout_s=float(timeout_s))
        kinds.add(completed(result))
    assert kinds == {0, 1, 2}


def test_prompts_longer_than_the_pool_fail_when_their_time_is_up() -> None:
    result = run([("both", 1)], trace=[(0.0, 500, 5), (0.0, 100, 5)], blocks=20, request_timeout_s=1.0)
    assert completed(result) <= 1
    assert result.document["errors"]["no end after 1 s"] >= 1


def test_leases_run_out_where_no_decode_worker_has_room() -> None:
    """Whoever does not get blocks in time is prefilled again."""
    trace = [(0.0, 300, 60), (0.001, 300, 2), (0.002, 300, 2)]
    result = run([("prefill", 1), ("decode", 1)], trace=trace, blocks=60, lease_s=0.03, request_timeout_s=100.0)
    assert len(result.outcomes) == 3
    assert result.document["kv"]["lease_expiries"] == sum(job.attempt - 1 for job in result.cluster.front_door.over)


def test_a_fault_of_a_worker_that_is_not_there_changes_nothing() -> None:
    result = run([("both", 1)], faults=(Fault("both0-7", 0.01),))
    assert completed(result) == len(TRACE)


def test_a_draining_worker_that_dies_has_died_then() -> None:
    """It costs nothing from then on, though the controller looks at what drains later."""

    class Shrink:
        def __init__(self, seed: int) -> None:
            self.done = False

        def decide(self, view: ClusterView) -> list[Resize]:
            done, self.done = self.done, True
            return [] if done else [Resize(Role.BOTH, 1, Reason.FIXED)]

    with mock.patch.dict(ADVERSARIES, {"scaling": Shrink}):
        result = run([("both", 2)], faults=(Fault("both0-1", 0.042),), adverse=frozenset({"scaling"}))
    assert completed(result) == len(TRACE)
    assert result.document["workers"][1]["alive_s"] == pytest.approx(0.042)


def test_what_a_dead_worker_had_is_served_again_oldest_first() -> None:
    trace = [(0.001 * i, 30, 1) for i in range(6)]
    result = run([("both", 1)], faults=(Fault("both0-0", 0.0055, 0.02),), trace=trace)
    first = {job.order: job.first_token_s for job in result.cluster.front_door.over}
    assert completed(result) == 6 and list(first) == sorted(first, key=lambda order: (first[order], order))


def test_progress_is_told_while_the_last_requests_run() -> None:
    told: list[tuple[int, float]] = []
    cluster = spec([("prefill", 1), ("decode", 1)], engine={"kv_blocks": 400})
    planned = [Planned(i, 0.0, 64, 40) for i in range(400)]
    result = simulate(cluster, planned, Options(progress=lambda done, at_s: told.append((done, at_s))))
    assert completed(result) == 400 and told == sorted(told)
    assert len(told) > 1 and told[-1][1] > 0.5 * result.document["duration_s"]
