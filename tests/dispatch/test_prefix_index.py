"""The prefix index against a plain model of sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.hashing import block_hashes
from orchestrator.routing.prefix import PrefixIndex

PROMPT = block_hashes(range(16 * 8), 16)
calm = settings(deadline=None, derandomize=True)


@calm
@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 70]), st.integers(0, 8), st.booleans()), max_size=30))
def test_matches_counts_leading_blocks(operations: list[tuple[int, int, bool]]) -> None:
    index = PrefixIndex()
    held: dict[int, set[int]] = {}
    for row, depth, store in operations:
        if store:
            index.stored(row, PROMPT[:depth].tolist())
            held.setdefault(row, set()).update(PROMPT[:depth].tolist())
        else:
            index.removed(row, PROMPT[depth:].tolist())
            held.setdefault(row, set()).difference_update(PROMPT[depth:].tolist())
    expected = np.zeros(71, np.int64)
    for row, hashes in held.items():
        while expected[row] < len(PROMPT) and int(PROMPT[expected[row]]) in hashes:
            expected[row] += 1
    np.testing.assert_array_equal(index.matches(PROMPT, 71), expected)
    assert index.matches(PROMPT, 2).tolist() == expected[:2].tolist()
    assert len(index) == len(set().union(*held.values()))


@calm
@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.integers(1, 40))
def test_every_worker_has_a_depth_of_its_own(depths: list[int], asked: int) -> None:
    prompt = block_hashes(range(40), 1)
    index = PrefixIndex()
    for row, depth in enumerate(depths):
        index.stored(row, prompt[:depth])
    assert index.matches(prompt[:asked], len(depths)).tolist() == [min(depth, asked) for depth in depths]


def test_clear_forgets_one_worker_and_frees_memory() -> None:
    index = PrefixIndex()
    index.stored(0, PROMPT.tolist())
    index.stored(1, PROMPT[:2].tolist())
    index.clear(0)
    assert index.matches(PROMPT, 2).tolist() == [0, 2]
    index.clear(1)
    assert len(index) == 0


def test_a_full_index_keeps_what_was_stored_last_and_never_counts_more() -> None:
    index = PrefixIndex(max_blocks=6400)
    prompts = np.random.default_rng(1).integers(1, 2**63, (400, 64)).astype(np.uint64)
    for prompt in prompts:
        index.stored(3, prompt)
        assert len(index) <= 6400
    depths = [int(index.matches(prompt, 4)[3]) for prompt in prompts]
    assert depths[-50:] == [64] * 50
    assert depths[:250] == [0] * 250


def test_a_hit_keeps_a_prefix_and_pressure_takes_tails_before_heads() -> None:
    index = PrefixIndex(max_blocks=6400)
    prompts = np.random.default_rng(2).integers(1, 2**63, (500, 64)).astype(np.uint64)
    for prompt in prompts[:100]:
        index.stored(0, prompt)
    hot = prompts[99]
    for prompt in prompts[100:]:
        index.stored(0, prompt)
        assert index.matches(hot, 1)[0] == 64
    for prompt in prompts:
        depth = int(index.matches(prompt, 1)[0])
        kept = [int(index.matches(prompt[at : at + 1], 1)[0]) for at in range(64)]
        # A depth in the middle of what is being given up may be found at any of its holes, never beyond the last block.
        assert depth <= max((at + 1 for at in range(64) if kept[at]), default=0)


def test_workers_of_one_chain_share_their_set() -> None:
    index = PrefixIndex()
    chain = np.random.default_rng(3).integers(1, 2**63, 10_000).astype(np.uint64)
    for row in range(0, 1000, 50):
        index.stored(row, chain)
    assert index.nbytes() < 10_000 * 160


@pytest.mark.parametrize("values", [[0], [0, 1, 2], [2**64 - 1, 0, 5]])
def test_any_hash_will_do(values: list[int]) -> None:
    index = PrefixIndex()
    hashes = np.array(values, np.uint64)
    assert index.matches(hashes, 2).tolist() == [0, 0]
    index.stored(1, values)
    assert index.matches(hashes, 2).tolist() == [0, len(values)]
