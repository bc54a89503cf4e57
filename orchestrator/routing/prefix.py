"""Which worker holds which prompt blocks, from the cache events that workers push."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice

import numpy as np

from orchestrator.core.cluster import Ints
from orchestrator.core.request import BlockHashes

MAX_BLOCKS = 1 << 20
"""Blocks that an index knows by default."""
_SHARDS = 64
"""Dicts by the last bits of a hash: one dict of a million blocks would stop the event loop for 50 ms whenever it is laid out anew."""
_MOST_HITS = 64
"""Different prefixes whose hits are remembered until blocks are given up again."""


class PrefixIndex:
    """Block hash → bit set of worker rows, for about `max_blocks` blocks: those stored or hit last.

    Hashes are chained and workers give up the end of a prefix before its beginning, so a block that is held stands for those before
    it: depth is found by bisection. A worker that breaks this rule may be credited with blocks that it dropped from the middle; a block
    that the index has given up only costs hits. Both are mistakes of a hint.
    """

    def __init__(self, max_blocks: int = MAX_BLOCKS) -> None:
        self._shards: list[dict[int, int]] = [{} for _ in range(_SHARDS)]
        self._most = max(1, -(-max_blocks // _SHARDS))
        self._bits: list[int] = []
        self._hits: dict[int, BlockHashes] = {}
        self._full = False

    def stored(self, row: int, hashes: Iterable[int] | BlockHashes) -> None:
        """`row` holds these blocks, heads before tails."""
        while row >= len(self._bits):
            self._bits.append(1 << len(self._bits))
        bit, shards = self._bits[row], self._shards
        known, joined = 0, bit
        # The last is the first to be given up again; equal sets of a chain are kept as one object.
        for value in reversed(_listed(hashes)):
            shard = shards[value & 63]
            old = shard.pop(value, 0)
            if old is not known:
                known, joined = old, old | bit if old else bit
            shard[value] = joined
            if len(shard) > self._most:
                self._give_up(shard)

    def removed(self, row: int, hashes: Iterable[int] | BlockHashes) -> None:
        """`row` does not hold these blocks any more."""
        bit, shards = 1 << row, self._shards
        known, left = 0, 0
        for value in _listed(hashes):
            shard = shards[value & 63]
            old = shard.get(value, 0)
            if old is not known:
                known, left = old, old & ~bit
            if not old:
                continue
            if left:
                shard[value] = left
            else:
                del shard[value]

    def clear(self, row: int) -> None:
        """Forget everything of one worker."""
        for shard in self._shards:
            self.removed(row, [value for value, holders in shard.items() if holders >> row & 1])

    def matches(self, block_hashes: BlockHashes, n_workers: int) -> Ints:
        """Leading blocks that each worker row holds, shape (n_workers,)."""
        counts = np.zeros(n_workers, np.int64)
        last = len(block_hashes) - 1
        if last < 0:
            return counts
        item, shards = block_hashes.item, self._shards
        value = item(0)
        low, holding = 0, shards[value & 63].get(value, 0)
        if not holding:
            return counts
        # Bounds to the right of `low`, nearest last, each with who still holds the block there.
        value = item(last)
        bounds = [(last + 1, 0), (last, shards[value & 63].get(value, 0) & holding)]
        while bounds:
            high, there = bounds[-1]
            if there != holding and high - low > 1:
                middle = (low + high) // 2
                value = item(middle)
                bounds.append((middle, shards[value & 63].get(value, 0) & holding | there))
                continue
            bounds.pop()
            if there != holding:
                _give(counts, holding ^ there, low + 1)
                if not there:
                    break
            low, holding = high, there
        if self._full and len(self._hits) < _MOST_HITS:
            self._hits[item(low)] = block_hashes[: low + 1]
        return counts

    def nbytes(self) -> int:
        """Memory in bytes."""
        sets = {id(holders): sys.getsizeof(holders) for shard in self._shards for holders in shard.values()}
        return sum(map(sys.getsizeof, self._shards)) + 36 * len(self) + sum(sets.values())

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def _give_up(self, shard: dict[int, int]) -> None:
        """Forget a thirty-second of a shard: what was neither stored nor hit for longest."""
        self._full = True
        if self._hits:
            hits, self._hits = self._hits, {}
            for hashes in hits.values():
                for value in reversed(hashes.tolist()):
                    moved = self._shards[value & 63]
                    holders = moved.pop(value, 0)
                    if holders:
                        moved[value] = holders
        for value in list(islice(shard, max(1, self._most >> 5))):
            del shard[value]


def _listed(hashes: Iterable[int] | BlockHashes) -> list[int]:
    return hashes.tolist() if isinstance(hashes, np.ndarray) else list(hashes)


def _give(counts: Ints, holders: int, depth: int) -> None:
    """Write `depth` for every row among `holders`."""
    n = len(counts)
    if holders & (holders - 1) == 0:
        row = holders.bit_length() - 1
        if row < n:
            counts[row] = depth
        return
    packed = np.frombuffer((holders & ((1 << n) - 1)).to_bytes((n + 7) // 8, "little"), np.uint8)
    counts[np.unpackbits(packed, count=n, bitorder="little").view(np.bool_)] = depth
