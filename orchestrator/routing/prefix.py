"""Which worker holds which prompt blocks, from the cache events that workers push."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from orchestrator.core.cluster import Ints
from orchestrator.core.request import BlockHashes


class PrefixIndex:
    """Block hash → bit set of worker rows. Hashes are chained, so a held block implies the blocks before it."""

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}

    def stored(self, row: int, hashes: Iterable[int]) -> None:
        bit = 1 << row
        for value in hashes:
            self._holders[value] = self._holders.get(value, 0) | bit

    def removed(self, row: int, hashes: Iterable[int]) -> None:
        keep = ~(1 << row)
        for value in hashes:
            left = self._holders.get(value, 0) & keep
            if left:
                self._holders[value] = left
            else:
                self._holders.pop(value, None)

    def clear(self, row: int) -> None:
        """Forget everything of one worker."""
        self.removed(row, [value for value, holders in self._holders.items() if holders >> row & 1])

    def matches(self, block_hashes: BlockHashes, n_workers: int) -> Ints:
        """Leading blocks that each worker row holds, shape (n_workers,)."""
        counts = np.zeros(n_workers, np.int64)
        alive = (1 << n_workers) - 1
        for depth, value in enumerate(block_hashes.tolist(), start=1):
            alive &= self._holders.get(value, 0)
            if not alive:
                break
            rest = alive
            while rest:
                low = rest & -rest
                counts[low.bit_length() - 1] = depth
                rest ^= low
        return counts

    def __len__(self) -> int:
        return len(self._holders)
