"""When a draining worker is drained."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.drain import SETTLE_S, DrainStep, Occupancy, drain_step, patience_s


def worker(budget_s: float = 10.0, *, drained: bool = False, exceeded: bool = False) -> dict[str, Any]:
    drain = {"budget_s": budget_s, "requested_at": 100.0} | ({"exceeded": True} if exceeded else {})
    return {"drain": drain, "drained": drained}


def idle(at: float) -> Occupancy:
    return Occupancy(0, 0, 0, 0, at)


def test_no_drain_is_asked_for() -> None:
    assert drain_step({"drain": None, "drained": False}, idle(200.0), 200.0) is DrainStep.NONE


def test_idle_worker_is_drained_once_front_doors_know() -> None:
    assert drain_step(worker(), idle(100.0), 101.0) is DrainStep.WAIT
    assert drain_step(worker(), idle(100.0 + SETTLE_S), 101.0) is DrainStep.DRAINED


@pytest.mark.parametrize("busy", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
def test_anything_held_keeps_it_draining(busy: tuple[int, int, int, int]) -> None:
    assert drain_step(worker(), Occupancy(*busy, 105.0), 105.0) is DrainStep.WAIT


def test_silent_worker_is_not_drained() -> None:
    assert drain_step(worker(), None, 105.0) is DrainStep.WAIT


def test_budget_is_reported_once_and_work_goes_on() -> None:
    busy = Occupancy(1, 0, 0, 0, 111.0)
    assert drain_step(worker(), busy, 110.5) is DrainStep.BUDGET_EXCEEDED
    assert drain_step(worker(exceeded=True), busy, 111.0) is DrainStep.WAIT
    assert drain_step(worker(exceeded=True), idle(112.0), 112.0) is DrainStep.DRAINED
    assert drain_step(worker(drained=True), idle(113.0), 113.0) is DrainStep.NONE


@pytest.mark.parametrize("budget_s", [0.0, 0.001, SETTLE_S])
def test_idle_worker_is_drained_under_any_budget(budget_s: float) -> None:
    for early in (None, idle(100.1), Occupancy(1, 0, 0, 0, 100.1)):
        assert drain_step(worker(budget_s), early, 102.0) is DrainStep.WAIT
    assert drain_step(worker(budget_s), idle(101.0), 102.0) is DrainStep.DRAINED
    assert drain_step(worker(budget_s), Occupancy(1, 0, 0, 0, 101.0), 102.0) is DrainStep.BUDGET_EXCEEDED


def test_silence_is_not_waited_out_for_ever() -> None:
    assert drain_step(worker(0.0), None, 100.0 + patience_s(0.0)) is DrainStep.WAIT
    assert drain_step(worker(0.0), None, 100.1 + patience_s(0.0)) is DrainStep.BUDGET_EXCEEDED
    assert patience_s(60.0) == 60.0
