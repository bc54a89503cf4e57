"""Whose fault it is that a request was sent late."""

from __future__ import annotations

import pytest

from orchestrator.replay.load import ClientLoad, is_paced


def load(late_s: list[float], waited_s: list[float] | None = None) -> ClientLoad:
    made = ClientLoad()
    for late, waited in zip(late_s, waited_s or [0.0] * len(late_s), strict=True):
        made.sent(late, waited)
    return made


def test_punctual_client_is_no_bottleneck() -> None:
    punctual = load([0.0002] * 98 + [0.004, 0.009])
    assert punctual.faults(0.05, 256) == []
    document = punctual.document()
    assert document["slot_waits"] == 0 and document["sent_late_s"]["max"] == 0.009
    assert ClientLoad().faults(None, 256) == [] and ClientLoad().document()["sent_late_s"]["p50"] is None


def test_client_that_is_late_by_itself_is_named() -> None:
    (fault,) = load([0.0] * 90 + [0.05] * 10).faults(0.02, 256)
    assert "bottleneck" in fault and "50 ms late" in fault


def test_lateness_that_is_small_beside_what_is_measured_is_none() -> None:
    assert load([0.05] * 100).faults(10.0, 256) == []


def test_waiting_for_a_slot_is_the_fault_of_the_bound() -> None:
    (fault,) = load([0.0, 1.5, 2.0], [0.0, 1.5, 2.0]).faults(1.0, 4)
    assert fault.startswith("2 requests waited up to 2.00 s for one of 4 slots")


def test_clock_that_is_early_counts_as_punctual() -> None:
    assert load([-0.001]).late_s == [0.0]


@pytest.mark.parametrize(("due_s", "paced"), [([], False), ([0.0], False), ([0.0, 0.0], False), ([0.0, 1.0], True)])
def test_what_is_due_all_at_once_is_not_paced(due_s: list[float], paced: bool) -> None:
    assert is_paced(due_s) is paced
