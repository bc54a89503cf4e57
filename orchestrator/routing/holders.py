"""Sets of worker rows, each kept once and named by a small number: millions of blocks have few different sets of holders."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np

from orchestrator.core.cluster import Bools, Ints

NOBODY = 0
"""The number of the empty set."""


class HolderSets:
    """A set is an integer with one bit per row. Numbers of sets that nothing uses any more are given again after `keep`."""

    def __init__(self) -> None:
        self._bits = [0]
        self._numbers = {0: NOBODY}
        self._unused: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def bits(self, number: int) -> int:
        return self._bits[number]

    def added(self, number: int, row: int) -> int:
        """The set `number` and `row`."""
        return self._number(self._bits[number] | 1 << row)

    def dropped(self, number: int, row: int) -> int:
        """The set `number` without `row`."""
        return self._number(self._bits[number] & ~(1 << row))

    def without(self, row: int) -> Ints | None:
        """For every number, the set without `row`; None if it is in no set."""
        having = [number for bits, number in self._numbers.items() if bits >> row & 1]
        if not having:
            return None
        others = [self.dropped(number, row) for number in having]
        change = np.arange(len(self._bits))
        change[having] = others
        return change

    def keep(self, used: Iterable[int]) -> None:
        """Forget all sets but these and the empty one."""
        kept = {NOBODY, *used}
        for number in set(self._numbers.values()) - kept:
            del self._numbers[self._bits[number]]
            self._bits[number] = 0
            self._unused.append(number)

    def nbytes(self) -> int:
        """Memory in bytes, roughly."""
        numbers = sum(map(sys.getsizeof, self._bits)) + sys.getsizeof(self._bits)
        return numbers + sys.getsizeof(self._numbers) + 32 * len(self._numbers)

    def _number(self, bits: int) -> int:
        number = self._numbers.get(bits)
        if number is None:
            if self._unused:
                number = self._unused.pop()
                self._bits[number] = bits
            else:
                number = len(self._bits)
                self._bits.append(bits)
            self._numbers[bits] = number
        return number


def rows(bits: int, n: int) -> Bools:
    """The first `n` bits as a mask, shape (n,)."""
    size = (n + 7) // 8
    packed = np.frombuffer((bits & ((1 << n) - 1)).to_bytes(size, "little"), np.uint8)
    return np.unpackbits(packed, count=n, bitorder="little").view(np.bool_)
