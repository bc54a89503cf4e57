"""Free blocks as runs of neighbours, so that a request's KV stays in few pieces however long the pool has been in use."""

from __future__ import annotations

from bisect import bisect_left, insort


class Extents:
    """Free runs of blocks, merged as they touch. Taking and giving cost O(log n) plus a short memory move."""

    def __init__(self, blocks: int) -> None:
        """All of 0 … blocks - 1 are free."""
        self.free_blocks = 0
        self._end_of: dict[int, int] = {}
        self._start_of: dict[int, int] = {}
        self._by_size: list[tuple[int, int]] = []
        if blocks:
            self._add(0, blocks)

    @property
    def largest_run(self) -> int:
        """Blocks of the longest free run."""
        return self._by_size[-1][0] if self._by_size else 0

    def take(self, count: int, after: int | None = None) -> list[int]:
        """`count` blocks, ascending within a run, in as few runs as a greedy choice finds.

        Tries the run that follows block `after`, then the smallest run that fits, then the largest runs.
        The caller has checked that `count` are free.
        """
        assert count <= self.free_blocks, f"{count} blocks wanted, {self.free_blocks} free"
        taken: list[int] = []
        if after is not None and after + 1 in self._end_of:
            self._cut(after + 1, count, taken)
        while len(taken) < count:
            missing = count - len(taken)
            at = bisect_left(self._by_size, (missing, -1))
            _, start = self._by_size[at if at < len(self._by_size) else -1]
            self._cut(start, missing, taken)
        return taken

    def give(self, block: int) -> None:
        """Free one block."""
        self.give_run(block, block + 1)

    def give_run(self, start: int, end: int) -> None:
        """Free blocks [start, end), merging with free neighbours."""
        if start in self._start_of:
            before = self._start_of[start]
            self._remove(before, start)
            start = before
        if end in self._end_of:
            after = self._end_of[end]
            self._remove(end, after)
            end = after
        self._add(start, end)

    def runs(self) -> list[tuple[int, int]]:
        """Free runs [start, end), ascending."""
        return sorted(self._end_of.items())

    def _cut(self, start: int, count: int, taken: list[int]) -> None:
        end = self._end_of[start]
        stop = min(end, start + count)
        self._remove(start, end)
        if stop < end:
            self._add(stop, end)
        taken.extend(range(start, stop))

    def _add(self, start: int, end: int) -> None:
        self._end_of[start] = end
        self._start_of[end] = start
        insort(self._by_size, (end - start, start))
        self.free_blocks += end - start

    def _remove(self, start: int, end: int) -> None:
        del self._end_of[start]
        del self._start_of[end]
        del self._by_size[bisect_left(self._by_size, (end - start, start))]
        self.free_blocks -= end - start
