"""A hash table of a fixed size in NumPy arrays: block hash → a small number, for whole prompts at once.

Buckets have sixteen slots; a slot has a 31-bit tag of its hash, its number, and the generation in which it was last stored or
looked up. A tag shared by two blocks of a bucket (1 in 10^8 lookups) answers for the wrong one, which a hint may. Generations
advance with every sixteenth of the capacity stored or looked up; a full table gives up its oldest generation. At most half of the
slots are used, so that a bucket is hardly ever full; if it is, the oldest of its slots goes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestrator.core.cluster import Ints
from orchestrator.core.request import BlockHashes

WAYS = 16
"""Tags of a bucket fill one cache line."""
EMPTY = 0
_ODD = np.uint64(0x9E3779B97F4A7C15)
_USED = np.uint32(1)
"""In every tag, so that none is that of an empty slot."""
_SHARE = 16
"""Generations per capacity."""
_GENERATIONS = 255
"""Generation numbers are 1 to 255 and begin again; 0 marks an empty slot."""
_SPAN, _LAST_SPAN = 128, 250
"""From so many generations on, the oldest two become one with the next block stored; without any, the newest stays at the last."""


class BlockTable:
    """Numbers above `EMPTY` by block hash, at most `capacity` of them. `values` by slot are for owners to read and to change."""

    def __init__(self, capacity: int) -> None:
        bits = max(1, (max(1, capacity) * 2 // WAYS - 1).bit_length())
        self.capacity = max(1, capacity)
        self.count = 0
        self._shift = np.uint64(64 - bits)
        # Memory that was never written to is not taken.
        self._tags = np.zeros((1 << bits, WAYS), np.uint32)
        self._flat_tags = self._tags.reshape(-1)
        self.values = np.zeros(WAYS << bits, np.int32)
        self._seen = np.zeros(WAYS << bits, np.uint8)
        self._now, self._oldest = 1, 1
        self._moved, self._most_moved = 0, max(1, self.capacity // _SHARE)

    def nbytes(self) -> int:
        """Memory in bytes once all of it has been used."""
        return self._tags.nbytes + self.values.nbytes + self._seen.nbytes

    def leading(self, hashes: BlockHashes) -> Ints:
        """Slots of the leading hashes that are in the table, up to the first that is not; they count as looked up."""
        found, slots = self.find(hashes)
        n = len(found)
        # Positions ascend, so the last tells whether any is missing before it.
        if n and found[-1] != n - 1:
            wrong = (found != np.arange(n)).nonzero()[0]
            slots = slots[: wrong[0]] if wrong.size else slots
        self.touch(slots)
        return slots

    def find(self, hashes: BlockHashes) -> tuple[Ints, Ints]:
        """Positions in `hashes` that were found, ascending, and their slots."""
        buckets, tags = self._places(hashes)
        same = (self._tags.take(buckets, axis=0, mode="clip") == tags[:, None]).ravel().nonzero()[0]
        found = same >> 4
        slots = buckets.take(found)
        slots <<= 4
        same &= WAYS - 1
        slots += same
        return found, slots

    def add(self, hashes: BlockHashes, value: int) -> BlockHashes:
        """Give these, which are not in the table, a slot with `value`; returns those that have to be asked for once more, since
        another of them took their slot.
        """
        self._make_room(len(hashes))
        buckets, tags = self._places(hashes)
        free = self.values.reshape(-1, WAYS).take(buckets, axis=0, mode="clip") == EMPTY
        ways = free.argmax(axis=1)
        full = ~free[np.arange(len(ways)), ways]
        if full.any():
            ages = (self._now - self._seen.reshape(-1, WAYS)[buckets[full]].astype(np.int64)) % _GENERATIONS
            ways[full] = ages.argmax(axis=1)
        slots = (buckets << 4) + ways
        was = self.values.take(slots)
        order = np.arange(len(slots), dtype=np.int32)
        self.values[slots] = order
        won = self.values.take(slots) == order
        all_won = bool(won.all())
        mine = slots if all_won else slots[won]
        self._flat_tags[mine] = tags if all_won else tags[won]
        self.values[mine] = value
        self.touch(mine)
        self.count += int(np.count_nonzero((was if all_won else was[won]) == EMPTY))
        return hashes[:0] if all_won else hashes[~won]

    def discard(self, slots: Ints) -> None:
        """Empty these slots, all of them in use."""
        self._flat_tags[slots] = 0
        self.values[slots] = EMPTY
        self._seen[slots] = 0
        self.count -= len(slots)

    def touch(self, slots: Ints) -> None:
        """These were looked up, or stored again."""
        self._seen[slots] = self._now
        self._moved += len(slots)
        if self._moved >= self._most_moved and self._span() < _LAST_SPAN:
            self._moved = 0
            self._now = self._now % _GENERATIONS + 1

    def replace(self, change: npt.NDArray[np.int32]) -> None:
        """Give every slot the number that `change` has for its own."""
        np.take(change, self.values, out=self.values)
        self.discard(((self.values == EMPTY) & (self._seen != 0)).nonzero()[0])

    def in_use(self) -> Ints:
        """The different numbers in the table, and `EMPTY` if a slot has none."""
        return np.bincount(self.values).nonzero()[0]

    def _places(self, hashes: BlockHashes) -> tuple[Ints, npt.NDArray[np.uint32]]:
        mixed = hashes * _ODD
        tags = mixed.view(np.uint32)[::2] | _USED
        buckets: Ints = (mixed >> self._shift).view(np.int64)
        return buckets, tags

    def _span(self) -> int:
        return (self._now - self._oldest) % _GENERATIONS

    def _make_room(self, wanted: int) -> None:
        for _ in range(min(8, self._span() - _SPAN)):
            after = self._oldest % _GENERATIONS + 1
            self._seen[self._seen == self._oldest] = after
            self._oldest = after
        while self.count and self.count + wanted > self.capacity:
            self.discard((self._seen == self._oldest).nonzero()[0])
            if self._oldest == self._now:
                break
            self._oldest = self._oldest % _GENERATIONS + 1
