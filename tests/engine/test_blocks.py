"""Free runs, reference counts, prefix cache and generations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from workers.engine.torch.blocks import BlockManager
from workers.engine.torch.extents import Extents
from workers.engine.torch.prefix import Prefix, prefix_of


def runs_of(blocks: list[int]) -> int:
    return 1 + sum(b != a + 1 for a, b in pairwise(blocks))


def test_extents_prefer_the_smallest_run_that_fits() -> None:
    extents = Extents(100)
    extents.take(100)
    for start, end in ((10, 14), (20, 30), (40, 45)):
        extents.give_run(start, end)
    assert extents.take(5) == [40, 41, 42, 43, 44]
    assert extents.take(6) == [20, 21, 22, 23, 24, 25]
    assert extents.take(2, after=25) == [26, 27]
    assert extents.take(5) == [10, 11, 12, 13, 28], "largest first when nothing fits"
    assert extents.runs() == [(29, 30)]


def test_extents_merge() -> None:
    extents = Extents(8)
    extents.take(8)
    for block in (1, 3, 2, 7, 0):
        extents.give(block)
    assert extents.runs() == [(0, 4), (7, 8)]
    assert extents.free_blocks == 5


@pytest.mark.parametrize("seed", range(3))
def test_extents_stay_whole_and_in_runs(seed: int) -> None:
    """At 90 % occupancy, after thousands of uneven requests, a long one still comes in few pieces."""
    random = np.random.default_rng(seed)
    extents = Extents(4000)
    owned: list[list[int]] = []
    pieces: list[float] = []
    for _ in range(6000):
        count = int(random.integers(1, 120))
        while extents.free_blocks - count < 400:
            for block in owned.pop(int(random.integers(len(owned)))):
                extents.give(block)
        owned.append(extents.take(count))
        assert len(owned[-1]) == count
        pieces.append(runs_of(owned[-1]) / count)
    everything = sorted(b for blocks in owned for b in blocks)
    assert len(set(everything)) == len(everything) == 4000 - extents.free_blocks
    assert np.mean(pieces[1000:]) < 0.12
    for blocks in owned:
        for block in blocks:
            extents.give(block)
    assert extents.runs() == [(0, 4000)]


def manager(blocks: int = 8) -> BlockManager:
    return BlockManager(blocks, torch.zeros(blocks, dtype=torch.int64))


def test_cached_blocks_are_shared_then_evicted_tail_first() -> None:
    blocks = manager()
    prefix = prefix_of(range(64), 16)
    mine = blocks.take(4)
    blocks.remember(prefix, mine, 0)
    blocks.drop(mine)
    assert (blocks.used_blocks, blocks.available_blocks) == (0, 8)
    assert blocks.match(prefix) == mine
    assert blocks.needed_blocks(mine, 5) == 5
    blocks.share(mine[:1])
    assert blocks.needed_blocks(mine, 5) == 4
    assert blocks.used_blocks == 1
    assert blocks.events() == (prefix.hashes.tolist(), [])
    other = blocks.take(5)
    assert mine[3] in other, "the tail goes first"
    assert blocks.match(prefix) == mine[:3]
    assert blocks.events() == ([], [prefix.hashes[3]])
    blocks.check([mine[:1], other])
    blocks.drop(other)
    blocks.drop(mine[:1])
    blocks.check([])


def test_events_cancel_out() -> None:
    blocks = manager(2)
    prefix = prefix_of(range(32), 16)
    for _ in range(2):
        mine = blocks.take(2)
        blocks.remember(prefix, mine, 0)
        blocks.drop(mine)
    assert blocks.events() == (prefix.hashes.tolist(), [])
    blocks.take(2)
    assert blocks.events() == ([], prefix.hashes[::-1].tolist())


def test_a_second_copy_of_a_prefix_is_not_kept() -> None:
    blocks = manager()
    prefix = prefix_of(range(32), 16)
    first, second = blocks.take(2), blocks.take(2)
    blocks.remember(prefix, first, 0)
    blocks.remember(prefix, second, 0)
    blocks.drop(second)
    assert blocks.match(prefix) == first
    blocks.check([first])


def test_cached_prefixes_make_way_for_a_run() -> None:
    """Free crumbs between cached prefixes add up to enough, but a run is worth more than the oldest prefix."""
    blocks = manager(40)
    prompts = [prefix_of(range(i, i + 144), 16) for i in range(4)]
    owned = [blocks.take(10) for _ in prompts]
    for prefix, mine in zip(prompts, owned, strict=True):
        blocks.remember(prefix, mine, 0)
        blocks.drop(mine)
    assert runs_of(blocks.take(4)) == 1
    assert [len(blocks.match(prefix)) for prefix in prompts] == [6, 9, 9, 9]
    assert runs_of(blocks.take(20)) <= 2
    assert blocks.used_blocks == 24


def test_generations_grow_before_reuse() -> None:
    generations = torch.zeros(4, dtype=torch.int64)
    blocks = BlockManager(4, generations)
    mine = blocks.take(3)
    before = blocks.describe(mine, 40)
    assert before.generations == (0, 0, 0)
    blocks.drop(mine)
    assert generations.tolist() == [1, 1, 1, 0]
    assert blocks.describe(blocks.take(3), 40).generations == (1, 1, 1)


def test_check_finds_a_leak() -> None:
    blocks = manager()
    blocks.take(2)
    with pytest.raises(AssertionError, match="block 0 has 1 users, recount 0"):
        blocks.check([])


def test_a_colliding_hash_serves_no_foreign_kv() -> None:
    blocks = manager()
    mine, theirs = prefix_of(range(32), 16), prefix_of(range(100, 132), 16)
    forged = Prefix(mine.hashes, theirs.proofs)
    held = blocks.take(2)
    blocks.remember(mine, held, 0)
    assert blocks.match(forged) == []
    assert blocks.match(mine) == held
    other = blocks.take(2)
    blocks.remember(forged, other, 0)
    assert blocks.match(forged) == []
    blocks.check([held, other])


def test_a_proof_depends_on_every_token_before_it() -> None:
    tokens = list(range(64))
    proofs = prefix_of(tokens, 16).proofs
    for at in range(64):
        changed = prefix_of([*tokens[:at], 999, *tokens[at + 1 :]], 16).proofs
        assert [a == b for a, b in zip(proofs, changed, strict=True)] == [i < at // 16 for i in range(4)]
