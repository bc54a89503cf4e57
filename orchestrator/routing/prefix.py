"""Which worker holds which prompt blocks, from the cache events that workers push."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from orchestrator.core.cluster import Ints
from orchestrator.core.request import BlockHashes
from orchestrator.routing.holders import HolderSets, rows
from orchestrator.routing.table import BlockTable

MAX_BLOCKS = 1 << 20
"""Blocks that an index knows by default, in 18 MiB."""
_EVENT_BLOCKS = 4096
"""Longer events are taken in parts of this length: what they need in between stays small."""
_LEAST_SETS = 1024


class PrefixIndex:
    """Block hash → set of worker rows, for at most `max_blocks` blocks; see `table` for which are given up.

    A forgotten block only costs hits: a worker counts as holding the blocks before the first that it is not known to hold.
    """

    def __init__(self, max_blocks: int = MAX_BLOCKS) -> None:
        self._max_blocks = max_blocks
        self._table: BlockTable | None = None
        self._sets = HolderSets()
        self._swept = _LEAST_SETS

    def stored(self, row: int, hashes: Iterable[int] | BlockHashes) -> None:
        """`row` holds these blocks."""
        for part in self._parts(hashes):
            if self._table is None:
                self._table = BlockTable(self._max_blocks)
            while part.size:
                part = self._store(self._table, row, part)
        if len(self._sets) > self._swept:
            self._sweep()

    def removed(self, row: int, hashes: Iterable[int] | BlockHashes) -> None:
        """`row` does not hold these blocks any more."""
        for part in self._parts(hashes):
            if self._table is None:
                return
            _, slots = self._table.find(part)
            if not slots.size:
                continue
            numbers = self._table.values.take(slots).tolist()
            left = {number: self._sets.dropped(number, row) for number in set(numbers)}
            self._table.values[slots] = [left[number] for number in numbers]
            if not all(left.values()):
                self._table.discard(np.unique(slots[self._table.values.take(slots) == 0]))

    def clear(self, row: int) -> None:
        """Forget everything of one worker."""
        change = self._sets.without(row)
        if change is not None and self._table is not None:
            self._table.replace(change.astype(np.int32))

    def matches(self, block_hashes: BlockHashes, n_workers: int) -> Ints:
        """Leading blocks that each worker row holds, shape (n_workers,)."""
        counts = np.zeros(n_workers, np.int64)
        if self._table is None or not len(block_hashes):
            return counts
        slots = self._table.leading(block_hashes)
        depth = len(slots)
        if not depth:
            return counts
        numbers = self._table.values.take(slots)
        changes = (numbers[1:] != numbers[:-1]).nonzero()[0]
        holding = self._sets.bits(int(numbers[0]))
        for at in changes.tolist():
            still = holding & self._sets.bits(int(numbers[at + 1]))
            if still != holding:
                _give(counts, holding ^ still, at + 1)
                holding = still
                if not still:
                    return counts
        _give(counts, holding, depth)
        return counts

    def nbytes(self) -> int:
        """Memory in bytes once all of it has been used."""
        return self._sets.nbytes() + (self._table.nbytes() if self._table is not None else 0)

    def __len__(self) -> int:
        return self._table.count if self._table is not None else 0

    def _store(self, table: BlockTable, row: int, hashes: BlockHashes) -> BlockHashes:
        found, slots = table.find(hashes)
        if found.size:
            numbers = table.values.take(slots).tolist()
            with_row = {number: self._sets.added(number, row) for number in set(numbers)}
            table.values[slots] = [with_row[number] for number in numbers]
            table.touch(slots)
            if found.size >= len(hashes):
                return hashes[:0]
            fresh = np.ones(len(hashes), np.bool_)
            fresh[found] = False
            hashes = hashes[fresh]
        return table.add(hashes, self._sets.added(0, row))

    def _sweep(self) -> None:
        """Forget sets of holders that no block has."""
        if self._table is not None:
            self._sets.keep(self._table.in_use().tolist())
        self._swept = max(_LEAST_SETS, 2 * len(self._sets))

    def _parts(self, hashes: Iterable[int] | BlockHashes) -> list[BlockHashes]:
        values = hashes if isinstance(hashes, np.ndarray) else np.array(list(hashes), np.uint64)
        size = max(1, min(_EVENT_BLOCKS, self._max_blocks // 16))
        return [values[at : at + size] for at in range(0, len(values), size)]


def _give(counts: Ints, holders: int, depth: int) -> None:
    """Write `depth` for every row among `holders`."""
    if holders & (holders - 1) == 0:
        row = holders.bit_length() - 1
        if row < len(counts):
            counts[row] = depth
    else:
        counts[rows(holders, len(counts))] = depth
