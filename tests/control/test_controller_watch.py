"""A controller that hangs is told from one that starts slowly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.control.controller_watch import START_S, TURN_S, ControllerWatch

LIMIT_S = 10.0
ASKED_S = 2.0
"""From one asking to the next where none is answered."""


class Asked:
    """A watch and a clock that moves by one asking at a time; `verdicts` are what the watch said."""

    def __init__(self) -> None:
        self.watch = ControllerWatch(LIMIT_S)
        self.now_s = 1000.0
        self.verdicts: list[str] = []

    def for_s(self, seconds: float, ask: Callable[[float], str | None]) -> Asked:
        for _ in range(round(seconds / ASKED_S)):
            self.now_s += ASKED_S
            if (why := ask(self.now_s)) is not None:
                self.verdicts.append(why)
                self.watch.again()  # it is ended
        return self

    def starts(self, seconds: float) -> Asked:
        return self.for_s(seconds, lambda now_s: self.watch.silent(now_s, starting=True))

    def says_nothing(self, seconds: float) -> Asked:
        return self.for_s(seconds, lambda now_s: self.watch.silent(now_s, starting=False))

    def ticks(self, seconds: float) -> Asked:
        return self.for_s(seconds, lambda now_s: self.watch.answered(now_s, int(now_s)))

    def stands_still(self, seconds: float) -> Asked:
        return self.for_s(seconds, lambda now_s: self.watch.answered(now_s, 7))


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_one_stop_is_one_verdict_however_long_the_next_start_takes(asked: Asked) -> None:
    asked.ticks(20).says_nothing(12)
    assert asked.verdicts == ["no answer for 12.0 s"]
    asked.starts(START_S - ASKED_S).ticks(20).says_nothing(10).ticks(20)
    assert len(asked.verdicts) == 1


def test_one_that_died_by_itself_and_starts_slowly_is_left_alone(asked: Asked) -> None:
    asked.ticks(20).says_nothing(4).starts(START_S - ASKED_S).ticks(20)
    assert asked.verdicts == []


def test_silence_counts_from_the_end_of_the_start(asked: Asked) -> None:
    asked.starts(60).says_nothing(10)
    assert asked.verdicts == []
    asked.says_nothing(2)
    assert asked.verdicts == ["no answer for 12.0 s"]


def test_a_start_that_does_not_end_is_a_hang(asked: Asked) -> None:
    asked.ticks(4).starts(START_S + ASKED_S)
    assert asked.verdicts == [f"it has not started for {START_S + ASKED_S:.1f} s"]
    asked.starts(START_S - ASKED_S)
    assert len(asked.verdicts) == 1


def test_a_tick_that_lasts_is_a_hang_and_the_start_is_no_part_of_it(asked: Asked) -> None:
    asked.starts(TURN_S + 4).stands_still(TURN_S)
    assert asked.verdicts == []
    asked.stands_still(4)
    assert asked.verdicts == [f"its tick lasts for {TURN_S + ASKED_S:.1f} s"]


def test_a_successor_with_the_same_count_of_ticks_begins_anew(asked: Asked) -> None:
    asked.stands_still(TURN_S - 4).starts(8).stands_still(TURN_S)
    assert asked.verdicts == []


def test_a_watcher_that_was_stopped_itself_blames_nobody(asked: Asked) -> None:
    asked.ticks(4).now_s += 10_000.0
    asked.says_nothing(6)
    assert asked.verdicts == []
