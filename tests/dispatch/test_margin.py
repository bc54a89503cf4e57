"""The share of a TPOT goal that a forecast may use up follows what becomes of those that are let in."""

from __future__ import annotations

import random

import pytest

from orchestrator.routing.margin import FIRST, LEAST, MOST, Margin

GOAL_S = 0.1


def settled(spread: float) -> tuple[float, float]:
    """Share and misses after many answers whose TPOT scatters around what was forecast: the share of the goal."""
    rng, margin, missed = random.Random(7), Margin(), 0
    for i in range(20_000):
        tpot_s = margin.share * GOAL_S * rng.lognormvariate(0.0, spread)
        missed += tpot_s > GOAL_S and i >= 10_000
        margin.answered(tpot_s, GOAL_S)
    return margin.share, missed / 10_000


def test_where_forecasts_hold_nearly_all_of_a_goal_is_used():
    share, missed = settled(0.01)
    assert share == pytest.approx(MOST, abs=0.02) and missed < 0.005


def test_where_answers_scatter_room_is_left_so_that_few_miss():
    share, missed = settled(0.2)
    assert LEAST < share < 0.75 and missed < 0.04


def test_answers_far_from_their_goal_say_nothing():
    margin = Margin()
    for _ in range(10_000):
        margin.answered(0.2 * GOAL_S, GOAL_S)
    assert margin.share == FIRST


def test_the_share_has_a_floor():
    margin = Margin()
    for _ in range(100):
        margin.answered(10 * GOAL_S, GOAL_S)
    assert margin.share == LEAST
