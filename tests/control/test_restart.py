"""When a worker that is to be restarted is stopped, resumed or left alone."""

from __future__ import annotations

from typing import Any

from orchestrator.control.prewarm import Peer, Prewarmer
from orchestrator.control.restart import RestartStep, restart_step
from orchestrator.core.cluster import Role
from orchestrator.state.restarts import undone, wanted

FRESH = {"name": "decode-0", "drain": None, "drained": False, "role": "decode"}


def endpoint(incarnation: int = 7, state: str = "ready") -> dict[str, Any]:
    return {"incarnation": incarnation, "state": state, "pid": 5}


def asked(*, force: bool = False, drained: bool = False) -> dict[str, Any]:
    return wanted(FRESH, 7, 10.0, force, 100.0) | {"drained": drained}


def test_nothing_is_asked_for() -> None:
    assert restart_step(FRESH, endpoint(), True) is RestartStep.NONE


def test_it_is_stopped_once_it_is_drained() -> None:
    assert restart_step(asked(), endpoint(), True) is RestartStep.WAIT
    assert restart_step(asked(drained=True), endpoint(), True) is RestartStep.STOP


def test_engine_that_does_not_serve_needs_no_drain() -> None:
    for state in ("starting", "dead"):
        assert restart_step(asked(), endpoint(state=state), False) is RestartStep.STOP


def test_new_engine_takes_work_when_it_is_ready_and_warm() -> None:
    worker = asked(drained=True)
    assert restart_step(worker, None, False) is RestartStep.WAIT
    assert restart_step(worker, endpoint(8, "starting"), False) is RestartStep.WAIT
    assert restart_step(worker, endpoint(8), False) is RestartStep.WAIT
    assert restart_step(worker, endpoint(8), True) is RestartStep.RESUME
    assert undone(worker) == FRESH | {"restart": None}


def test_budget_ends_the_restart_or_the_work() -> None:
    for force, step in ((False, RestartStep.GIVE_UP), (True, RestartStep.STOP)):
        worker = asked(force=force)
        assert restart_step(worker, endpoint(), True) is RestartStep.WAIT
        worker["drain"]["exceeded"] = True
        assert restart_step(worker, endpoint(), True) is step


def test_resuming_by_hand_gives_it_up() -> None:
    assert restart_step(asked() | {"drain": None}, endpoint(), True) is RestartStep.GIVE_UP


def test_drained_worker_stays_drained() -> None:
    drained = FRESH | {"drain": {"budget_s": 1.0, "requested_at": 50.0}, "drained": True}
    worker = wanted(drained, 7, 10.0, False, 100.0)
    assert restart_step(worker, endpoint(), True) is RestartStep.STOP
    assert undone(worker) == drained | {"restart": None}


def test_asking_again_remembers_how_it_was_before() -> None:
    twice = wanted(asked(drained=True), 8, 30.0, True, 120.0)
    assert undone(twice) == FRESH | {"restart": None}
    assert twice["restart"]["incarnation"] == 8 and twice["restart"]["force"]


def test_pairs_of_one_incarnation_are_counted() -> None:
    peers = [Peer(f"p-{i}", 1, Role.PREFILL, "", b"") for i in range(2)] + [Peer("d-0", 3, Role.DECODE, "", b"")]
    prewarmer = Prewarmer()
    due = prewarmer.due(peers)
    assert (prewarmer.cold("d-0", 3), prewarmer.cold("p-0", 1), prewarmer.cold("d-0", 2)) == (2, 1, 0)
    prewarmer.connected(due[0][0])
    assert prewarmer.cold("d-0", 3) == 1
    prewarmer.connected(due[1][0])
    assert prewarmer.cold("d-0", 3) == 0
