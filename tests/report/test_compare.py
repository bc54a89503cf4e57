"""Which of several reports is better, and by how much."""

from __future__ import annotations

import pytest

from orchestrator.report.compare import Better, Figure, Unit, compare, differences
from tests.report.documents import replayed, simulated


def test_ratio_delta_and_best() -> None:
    lower = Figure("TTFT p99", Unit.SECONDS, Better.LOWER, (2.0, 1.0, 3.0))
    assert lower.ratios == (1.0, 0.5, 1.5) and lower.deltas == (0.0, -1.0, 1.0) and lower.best == 1
    higher = Figure("Goodput", Unit.PER_S, Better.HIGHER, (2.0, 1.0, None))
    assert higher.best == 0 and higher.ratios == (1.0, 0.5, None)


def test_no_best_for_ties_singles_and_circumstances() -> None:
    assert Figure("x", Unit.COUNT, Better.LOWER, (1, 1, 2)).best is None
    assert Figure("x", Unit.COUNT, Better.LOWER, (None, 1)).best is None
    assert Figure("x", Unit.COUNT, Better.NEITHER, (1, 2)).best is None


def test_nothing_to_divide_by() -> None:
    assert Figure("x", Unit.COUNT, Better.LOWER, (0, 2)).ratios == (None, None)
    assert Figure("x", Unit.COUNT, Better.LOWER, (None, 2)).deltas == (None, None)


def test_replay_against_simulation() -> None:
    live, model = replayed(), simulated()
    figures = {f.name: f for f in compare([live, model])}
    assert figures["TTFT p99"].values == (live["ttft_s"]["p99"], model["ttft_s"]["p99"])
    assert figures["Energy"].values == (None, 5400.0) and figures["Energy"].best is None
    assert figures["chat: in SLO"].values == (None, model["tiers"]["chat"]["slo_attainment"])
    assert all(any(v is not None for v in f.values) for f in figures.values())


def test_circumstances_that_differ() -> None:
    assert differences([simulated(), simulated()]) == {}
    got = differences([replayed(), simulated(seed=3)])
    assert got["seed"] == [0, 3] and got["policy routing"] == [None, "prefix_aware"] and "version" not in got


def test_one_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="two reports"):
        compare([replayed()])
