"""When blocks run out the youngest gives way, waits for its turn, and gets every token in the end."""

from __future__ import annotations

from unittest import mock

import pytest

from orchestrator.core.config.simulation import LatencyKind, LinearLatency
from orchestrator.report.outcome import Verdict
from orchestrator.simulator.run import Result
from orchestrator.simulator.worker import Worker
from orchestrator.workload.schedule import Planned
from tests.simulator.builders import World, run_world, spec


def run(layout: list[tuple[str, int]], trace: list[tuple[float, int, int]], blocks: int, size: int = 16) -> Result:
    cluster = spec(
        layout,
        engine={"kv_blocks": blocks, "block_tokens": size, "prefix_cache": False},
        simulation={
            "latency": LatencyKind.LINEAR,
            "linear": LinearLatency(base_ms=5.0, per_context_token_us=1.0),
            "hop_ms": 0.0,
        },
    )
    return run_world(World(cluster, tuple(Planned(i, *request) for i, request in enumerate(trace))))[0]


def served(result: Result) -> bool:
    return all(o.verdict is Verdict.COMPLETED for o in result.outcomes)


def test_the_oldest_is_never_preempted() -> None:
    """It gets a token in every iteration after its prompt, so its steps are those of a run without others."""
    trace = [(0.0, 100, 200), (0.001, 100, 200), (0.002, 100, 200)]
    victims = []
    original = Worker._preempt

    def noting(worker: Worker, now_s: float) -> object:
        before = set(worker.prompts.waiting)
        events = original(worker, now_s)
        victims.extend(job.order for job in set(worker.prompts.waiting) - before)
        return events

    with mock.patch.object(Worker, "_preempt", noting):
        result = run([("both", 1)], trace, blocks=30)
    assert served(result) and victims and 0 not in victims
    ends = [job.order for job in result.cluster.front_door.over]
    assert ends[0] == 0


def test_who_is_preempted_is_not_admitted_in_the_same_breath() -> None:
    original, waited = Worker._start, list[bool]()

    def noting(worker: Worker, now_s: float) -> object:
        before = worker.meter.preemptions
        waiting = set(worker.prompts.waiting)
        events = original(worker, now_s)
        if worker.meter.preemptions > before:
            waited.append(
                waiting <= set(worker.prompts.waiting)
                and not (set(worker.prompts.waiting) & set(worker.prompts.prefilling))
            )
        return events

    with mock.patch.object(Worker, "_start", noting):
        result = run([("both", 1)], [(0.001 * i, 40 + i, 90) for i in range(8)], blocks=24)
    assert served(result) and waited and all(waited)


@pytest.mark.parametrize("size", [1, 16])
def test_reservations_amid_a_run_do_not_take_what_it_will_grow_into(size: int) -> None:
    """The pool is recounted after every event, with the blocks that the run in progress will take."""
    for blocks in range(192 // size + 2, 600 // size, 96 // size):
        trace = [(0.013 * i, 64, 128) for i in range(8)]
        result = run([("prefill", 1), ("decode", 1)], trace, blocks, size)
        assert served(result)
