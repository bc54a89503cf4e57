"""A running request moves to another worker and goes on there, or stays whole where it is, whatever happens meanwhile."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest

from orchestrator.core.cluster import ClusterView
from orchestrator.core.config import PolicyChoice
from orchestrator.core.config.simulation import LatencyKind, LinearLatency
from orchestrator.core.decisions import Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.rebalancing.base import Move
from orchestrator.report.outcome import Verdict
from orchestrator.simulator.controller import Fault
from orchestrator.simulator.decoding import Decoding
from orchestrator.simulator.job import Job
from orchestrator.simulator.kv import Holding, KvPool
from orchestrator.simulator.run import Result
from orchestrator.workload.schedule import Planned
from tests.simulator.builders import ADVERSARIES, World, run_world, spec

# Copied from 0.1 s on; the source keeps the tail until about 0.21 s.
AMID_S = [float(t) for t in np.arange(0.102, 0.216, 0.002)]


class MoveOnce:
    """Moves r0 to the second worker at the second tick."""

    def __init__(self, seed: int) -> None:
        self.ticks = 0

    def decide(self, view: ClusterView) -> list[Move]:
        self.ticks += 1
        return [Move("r0", 0, 1, Reason.FIXED)] if self.ticks == 2 else []


def run(
    *planned: tuple[float, int, int], faults: tuple[Fault, ...] = (), blocks: int = 200, timeout_s: float = 600.0
) -> Result:
    """Two co-located workers that take turns. Steps take 5 ms; 1000 tokens of context take 105 ms over the network."""
    cluster = spec(
        [("both", 2)],
        engine={"kv_blocks": blocks, "prefix_cache": False},
        simulation={
            "latency": LatencyKind.LINEAR,
            "linear": LinearLatency(base_ms=5.0, per_context_token_us=0.0),
            "link": "ethernet-10g",
            "tick_ms": 50.0,
            "hop_ms": 0.0,
        },
        front_door={"request_timeout_s": timeout_s},
        policies={"routing": PolicyChoice("round_robin")},
    )
    trace = tuple(Planned(i, *request) for i, request in enumerate(planned))
    with mock.patch.dict(ADVERSARIES, {"rebalancing": MoveOnce}):
        return run_world(World(cluster, trace, faults, adverse=frozenset({"rebalancing"})))[0]


def completed(result: Result) -> bool:
    return all(o.verdict is Verdict.COMPLETED for o in result.outcomes)


def test_a_request_goes_on_where_it_moved_to() -> None:
    result = run((0.0, 1000, 100))
    first, second = result.document["workers"]
    assert completed(result) and result.document["kv"]["migrations"] == 1
    assert first["decode_tokens"] + second["decode_tokens"] == 99 and second["decode_tokens"] > 50
    # All but the pause for the tail, of two blocks at 1.25 GB/s, took place while the request decoded.
    assert result.document["itl_s"]["max"] == pytest.approx(5e-3 + 50e-6 + 2 * 16 * 131072 / 1.25e9, abs=3e-3)


@pytest.mark.parametrize("worker", ["both0-0", "both0-1"])
@pytest.mark.parametrize("restart_s", [None, 0.0])
def test_either_end_may_die_at_any_time(worker: str, restart_s: float | None) -> None:
    migrated = []
    for at_s in AMID_S:
        result = run((0.0, 1000, 100), faults=(Fault(worker, at_s, restart_s),))
        assert completed(result), at_s
        attempts = result.cluster.front_door.over[0].attempt
        migrated.append(result.document["kv"]["migrations"] == 1)
        # Who loses its target goes on at its source; who loses its source begins again elsewhere.
        assert attempts == (2 if (worker == "both0-1") == migrated[-1] else 1)
    assert {True, False} == set(migrated)


def test_a_client_may_give_up_at_any_time() -> None:
    for timeout_s in AMID_S:
        result = run((0.0, 1000, 100), (0.05, 40, 200), timeout_s=timeout_s)
        assert not completed(result) and len(result.outcomes) == 2


def test_pools_may_run_out_at_any_time() -> None:
    """Source and target both fill up while the request is on its way."""
    preemptions = migrations = 0
    for blocks in range(64, 260, 5):
        others = [(0.001 * i, 60 + 7 * i, 80) for i in range(1, 16)]
        result = run((0.0, 960, 64), *others, blocks=blocks)
        assert completed(result), blocks
        preemptions += result.document["kv"]["preemptions"]
        migrations += result.document["kv"]["migrations"]
    assert preemptions and migrations


def test_who_leaves_and_joins_again_in_the_same_step_ends_once() -> None:
    kv = KvPool(100, 16, False)
    decoding = Decoding(kv)
    job: Any = Job(0, RequestView("r0", 10, 5, 0.0), 0.0, 5, emitted=1)
    kv.take(1)
    decoding.join(job, Holding(1))
    decoding.join(job, decoding.leave(job))
    assert decoding.steps_to_end() == 4
    decoding.advance(4)
    assert list(decoding.ended()) == [job]
