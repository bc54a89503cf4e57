"""Weighted percentiles are those of the expanded values, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.report.spread import Spread

PAIRS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 50)), max_size=60)


@settings(deadline=None, max_examples=200)
@given(PAIRS)
def test_weights_stand_for_repetition(pairs: list[tuple[float, int]]) -> None:
    values = np.array([v for v, _ in pairs], np.float64)
    weights = np.array([w for _, w in pairs], np.int64)
    expanded = np.repeat(values, weights)
    got = Spread.of(values, weights)
    if not len(expanded):
        assert got == Spread()
        return
    assert (got.p50, got.p90, got.p95, got.p99) == tuple(np.percentile(expanded, (50, 90, 95, 99)).tolist())
    assert got.max == expanded.max()
    assert got.mean == pytest.approx(expanded.mean(), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_many_values_of_a_long_tail(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.lognormal(-3, 2.5, 20_000), rng.integers(1, 40, 20_000)
    got = Spread.of(values, weights)
    expected = np.percentile(np.repeat(values, weights), (50, 90, 95, 99)).tolist()
    assert [got.p50, got.p90, got.p95, got.p99] == expected


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Spread.of([1.0, 2.0], [1, -1])
    with pytest.raises(ValueError, match="2 whole numbers"):
        Spread.of([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="whole numbers"):
        Spread.of([1.0, 2.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="finite"):
        Spread.of([1.0, np.inf], [1, 1])


def test_none_and_nan_are_not_measured() -> None:
    assert Spread.of([None, 2.0, float("nan")]) == Spread(2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    assert Spread.of(np.array([np.nan, 3.0]), [5, 2]).mean == 3.0
