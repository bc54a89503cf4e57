"""Hashes of prompt blocks: chained, sensitive to every token and its place, equal however the tokens are given."""

from __future__ import annotations

import subprocess
import sys
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.hashing import block_hashes

calm = settings(deadline=None, derandomize=True)
tokens_lists = st.lists(st.integers(0, 2**32 - 1), max_size=200)
sizes = st.sampled_from([1, 2, 3, 16, 64])


@calm
@given(tokens_lists, sizes, st.integers(0, 200))
def test_a_prefix_has_the_first_hashes_of_the_whole(tokens: list[int], size: int, cut: int) -> None:
    whole = block_hashes(tokens, size)
    assert whole.dtype == np.uint64 and len(whole) == len(tokens) // size
    part = block_hashes(tokens[:cut], size)
    assert part.tolist() == whole[: len(part)].tolist()


@calm
@given(tokens_lists.filter(bool), sizes, st.data())
def test_a_token_changes_all_hashes_from_its_block_on_and_none_before(
    tokens: list[int], size: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(tokens) - 1))
    other = [*tokens]
    other[at] ^= 1 << data.draw(st.integers(0, 31))
    same = block_hashes(tokens, size) == block_hashes(other, size)
    assert same.tolist() == [i < at // size for i in range(len(same))]


@calm
@given(tokens_lists, sizes)
def test_any_form_of_the_tokens_hashes_alike(tokens: list[int], size: int) -> None:
    expected = block_hashes(tokens, size).tolist()
    packed = array("I", tokens)
    for form in (packed, packed.tobytes(), memoryview(packed), memoryview(packed.tobytes()), tuple(tokens)):
        assert block_hashes(form, size).tolist() == expected
    for dtype in (np.uint32, np.int64, np.uint64):
        assert block_hashes(np.array(tokens, dtype), size).tolist() == expected


def test_swapped_blocks_and_zeros_at_the_end_are_other_prefixes() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 128_000, (2, 16)).tolist()
    assert block_hashes([*a, *b], 16)[1] != block_hashes([*b, *a], 16)[1]
    zeros = block_hashes([0] * 1600, 16)
    assert len(set(zeros.tolist())) == 100
    assert len(set(block_hashes(a * 100, 16).tolist())) == 100


def test_no_two_of_a_million_prefixes_collide() -> None:
    rng = np.random.default_rng(1)
    found = [block_hashes(rng.integers(0, 128_000, 16_000).astype(np.uint32), 16) for _ in range(500)]
    # Of small numbers too, which give a hash little to work with.
    found += [block_hashes(rng.integers(0, 50, 16_000).astype(np.uint32), 16) for _ in range(500)]
    assert np.unique(np.concatenate(found)).size == 1_000_000


def test_one_token_in_many_places_never_collides_and_bits_are_balanced() -> None:
    base = np.zeros((4096, 16), np.uint32)
    base[np.arange(4096), np.arange(4096) % 16] = 1 + np.arange(4096) // 16
    hashes = np.array([block_hashes(row, 16)[0] for row in base])
    assert np.unique(hashes).size == 4096
    ones = ((hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    assert abs(ones - 0.5).max() < 0.1


@pytest.mark.parametrize("bad", [[-1] * 16, [2**32] * 16, np.full(16, -1), np.full(16, 2**32)])
def test_numbers_that_are_no_tokens_are_refused(bad: object) -> None:
    with pytest.raises((OverflowError, ValueError)):
        block_hashes(bad, 16)  # type: ignore[arg-type]


def test_processes_agree_unless_their_keys_differ() -> None:
    code = "from orchestrator.core.hashing import block_hashes; print(block_hashes(range(64), 16).tolist())"

    def other(**environment: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first = other(TANDEM_PREFIX_KEY="a secret")
    assert first == other(TANDEM_PREFIX_KEY="a secret")
    assert first != other(TANDEM_PREFIX_KEY="another")
    assert first != other()
