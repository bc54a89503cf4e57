"""The block manager: who uses which block of the pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

import torch

from workers.engine.base import KvBlocks
from workers.engine.torch.extents import Extents
from workers.engine.torch.prefix import Prefix
from workers.engine.torch.prefix_cache import PrefixCache


class BlockManager:
    """Reference counts over free runs and the prefix cache.

    A block is in use (count > 0), cached and idle (count 0, content can be found by hash), or free. `generations` (int64, CPU)
    grows when a block's content is given up, before the block can be handed out again: a reader that sees the same generation
    before and after has read what it wanted.
    """

    def __init__(self, blocks: int, generations: torch.Tensor, prefix_cache: bool = True) -> None:
        self.total_blocks = blocks
        self._generations = generations.numpy()
        self._counts = [0] * blocks
        self._free = Extents(blocks)
        self._cache = PrefixCache()
        self._caching = prefix_cache

    @property
    def available_blocks(self) -> int:
        """Blocks that `take` can give: free ones and idle cached ones."""
        return self._free.free_blocks + self._cache.idle_blocks

    @property
    def used_blocks(self) -> int:
        """Blocks with a user. Idle cached blocks do not count."""
        return self.total_blocks - self.available_blocks

    def match(self, prefix: Prefix) -> list[int]:
        """Cached blocks of its longest known head, not yet shared."""
        return self._cache.match(prefix) if self._caching else []

    def needed_blocks(self, matched: Sequence[int], total: int) -> int:
        """Of `available_blocks`, how many a request takes that has `matched` cached blocks and needs `total`."""
        return total - len(matched) + sum(map(self._cache.is_idle, matched))

    def share(self, blocks: Iterable[int]) -> None:
        """Add a user to cached blocks."""
        for block in blocks:
            self._cache.use(block)
            self._counts[block] += 1

    def take(self, count: int, after: int | None = None) -> list[int]:
        """`count` fresh blocks in few runs, after block `after` if that is free. The caller has checked `available_blocks`.

        Where free blocks are scattered, up to `count` more idle ones are evicted to make a run: a pool full of cached prefixes
        would otherwise hand out the crumbs between them for ever, and every pull would be slow.
        """
        while self._free.free_blocks < count:
            self._discard(self._cache.evict())
        for _ in range(min(count, self._cache.idle_blocks) if count > 1 else 0):
            if self._free.largest_run >= count:
                break
            self._discard(self._cache.evict())
        blocks = self._free.take(count, after)
        for block in blocks:
            self._counts[block] = 1
        return blocks

    def drop(self, blocks: Sequence[int]) -> None:
        """Remove a user from each. The tail of a prefix is parked first, since it is useless without its head."""
        for block in reversed(blocks):
            self._counts[block] -= 1
            assert self._counts[block] >= 0, f"block {block} dropped more often than taken"
            if self._counts[block] == 0:
                if self._cache.holds(block):
                    self._cache.park(block)
                else:
                    self._discard(block)

    def remember(self, prefix: Prefix, blocks: Sequence[int], first: int) -> None:
        """Make blocks `first` … `prefix.blocks` - 1 of a prefix findable. Their content must be complete."""
        if self._caching:
            entries = zip(prefix.hashes.tolist(), prefix.proofs, blocks[: prefix.blocks], strict=True)
            for value, proof, block in islice(entries, first, None):
                self._cache.store(value, proof, block)

    def describe(self, blocks: Sequence[int], tokens: int) -> KvBlocks:
        """`blocks` with their present generations."""
        return KvBlocks(tuple(blocks), tuple(self._generations[list(blocks)].tolist()), tokens)

    def events(self) -> tuple[list[int], list[int]]:
        """Hashes stored and removed since the last call."""
        return self._cache.events()

    def cached_hashes(self) -> list[int]:
        """Hashes that `match` finds now."""
        return self._cache.hashes()

    def check(self, users: Iterable[Sequence[int]]) -> None:
        """Recount from the block lists of every user; raises AssertionError."""
        expected: Counter[int] = Counter()
        for blocks in users:
            expected.update(blocks)
        for block, count in enumerate(self._counts):
            assert count == expected[block], f"block {block} has {count} users, recount {expected[block]}"
        self._cache.check(self._counts)
        free = {block for start, end in self._free.runs() for block in range(start, end)}
        unused = {b for b, count in enumerate(self._counts) if count == 0 and not self._cache.holds(b)}
        assert free == unused, f"free list differs from recount in blocks {sorted(free ^ unused)[:8]}"
        assert len(free) == self._free.free_blocks, f"{self._free.free_blocks} blocks free, recount {len(free)}"

    def _discard(self, block: int) -> None:
        self._generations[block] += 1
        self._free.give(block)
