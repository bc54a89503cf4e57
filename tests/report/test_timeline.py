"""Step functions and what thinning them keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.timeline import Series, Span, Timeline, downsample

POINTS = st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e3, 1e3)), min_size=1, max_size=300)


@given(POINTS, st.integers(4, 60))
def test_thinning_keeps_ends_and_extremes(points: list[tuple[float, float]], most: int) -> None:
    points.sort(key=lambda p: p[0])
    series = Series(np.array([t for t, _ in points]), np.array([v for _, v in points]))
    thin = downsample(series, most)
    assert len(thin) <= most or len(thin) == len(series)
    assert thin.value.max() == series.value.max() and thin.value.min() == series.value.min()
    assert (thin.time_s[0], thin.value[0]) == (series.time_s[0], series.value[0])
    assert (thin.time_s[-1], thin.value[-1]) == (series.time_s[-1], series.value[-1])
    assert set(zip(thin.time_s, thin.value, strict=True)) <= set(zip(series.time_s, series.value, strict=True))


def test_a_spike_survives() -> None:
    value = np.zeros(10_000)
    value[4321] = 7.0
    thin = downsample(Series(np.arange(10_000.0), value), 100)
    assert len(thin) <= 100 and 7.0 in thin.value


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        downsample(Series(np.arange(10.0), np.arange(10.0)), 3)


def test_a_value_holds_until_the_next() -> None:
    series = Series(np.array([1.0, 2.0, 2.0]), np.array([5.0, 6.0, 7.0]))
    assert series.at(np.array([0.0, 1.0, 1.9, 2.0, 9.0])).tolist() == [0.0, 5.0, 5.0, 7.0, 7.0]


def test_bad_series_are_refused() -> None:
    with pytest.raises(ValueError, match="as many times"):
        Series(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="ascend"):
        Series(np.array([1.0, 0.0]), np.zeros(2))


def test_end() -> None:
    series = {"a": {"queue": Series(np.array([0.0, 3.0]), np.zeros(2))}}
    assert Timeline(series, [Span("a", "x", "y", 2.0, 2.5)]).end_s == 4.5
    assert Timeline().end_s == 0.0
