"""The prefix index against a plain model of sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.hashing import block_hashes
from orchestrator.routing.prefix import PrefixIndex

PROMPT = block_hashes(range(16 * 8), 16)


def test_hashes_are_chained_and_leave_out_the_partial_block():
    assert len(block_hashes(range(47), 16)) == 2
    other = block_hashes([99, *range(1, 47)], 16)
    assert not set(other.tolist()) & set(PROMPT.tolist())
    assert block_hashes(range(47), 16).tolist() == PROMPT[:2].tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=30))
def test_matches_counts_leading_blocks(operations):
    index = PrefixIndex()
    held = [set() for _ in range(4)]
    for row, depth, store in operations:
        hashes = PROMPT[:depth].tolist() if store else PROMPT[depth:].tolist()
        if store:
            index.stored(row, hashes)
            held[row] |= set(hashes)
        else:
            index.removed(row, hashes)
            held[row] -= set(hashes)
    expected = []
    for row in range(4):
        depth = 0
        while depth < len(PROMPT) and int(PROMPT[depth]) in held[row]:
            depth += 1
        expected.append(depth)
    np.testing.assert_array_equal(index.matches(PROMPT, 4), expected)


def test_clear_forgets_one_worker_and_frees_memory():
    index = PrefixIndex()
    index.stored(0, PROMPT.tolist())
    index.stored(1, PROMPT[:2].tolist())
    index.clear(0)
    assert index.matches(PROMPT, 2).tolist() == [0, 2]
    index.clear(1)
    assert len(index) == 0
