"""Merging block lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.transfer.runs import check_blocks, merge_runs


def test_a_run_needs_neighbours_on_both_sides() -> None:
    assert merge_runs([4, 5, 6, 7], [0, 1, 5, 6]).tolist() == [[4, 0, 2], [6, 5, 2]]
    assert merge_runs([3, 2, 1], [1, 2, 3]).tolist() == [[3, 1, 1], [2, 2, 1], [1, 3, 1]]
    assert merge_runs([], []).shape == (0, 3)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 source blocks for 1"):
        merge_runs([1, 2], [1])


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_runs_expand_to_the_lists_and_are_maximal(pairs: list[tuple[int, int]]) -> None:
    source, destination = [p[0] for p in pairs], [p[1] for p in pairs]
    runs = merge_runs(source, destination)
    expanded = [(s + i, d + i) for s, d, n in runs.tolist() for i in range(n)]
    assert expanded == pairs
    ends = runs[:-1, :2] + runs[:-1, 2:]
    assert not np.any(np.all(ends == runs[1:, :2], axis=1))


def test_blocks_are_checked() -> None:
    check_blocks([0, 4, 2], 5, "source")
    with pytest.raises(ValueError, match="source blocks outside the pool of 5"):
        check_blocks([5], 5, "source")
    with pytest.raises(ValueError, match="repeat"):
        check_blocks([1, 1], 5, "source")
