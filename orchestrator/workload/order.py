"""Puts rows in order of time within a bounded window."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator

from orchestrator.workload.trace import TraceError, TraceRequest

REORDER_ROWS = 32768
Key = tuple[float, int, TraceRequest]


def in_order(rows: Iterable[TraceRequest], name: str, window: int = REORDER_ROWS) -> Iterator[TraceRequest]:
    """`rows`, all with arrivals, by arrival; equal arrivals in their order. At most `window` rows are held.

    TraceError where a row comes before one that lies more than `window` rows above it.
    """
    reached = float("-inf")
    for at, _, row in _by_arrival(_keys(rows), window):
        if at < reached:
            what = f"a request arrives before one that is more than {window:,} rows above it"
            raise TraceError(what, name, "sort the file by arrival")
        reached = at
        yield row


def _keys(rows: Iterable[TraceRequest]) -> Iterator[Key]:
    for number, row in enumerate(rows):
        assert row.arrival_s is not None
        yield row.arrival_s, number, row


def _by_arrival(keys: Iterator[Key], window: int) -> Iterator[Key]:
    # A queue while the rows ascend, which is the rule and quick; a heap from the first row that does not.
    queue: deque[Key] = deque()
    for key in keys:
        if queue and key[0] < queue[-1][0]:
            heap = [*queue, key]
            heapq.heapify(heap)
            yield from _by_heap(heap, keys, window)
            return
        queue.append(key)
        if len(queue) > window:
            yield queue.popleft()
    yield from queue


def _by_heap(heap: list[Key], keys: Iterator[Key], window: int) -> Iterator[Key]:
    for key in keys:
        if len(heap) < window:
            heapq.heappush(heap, key)
        else:
            yield heapq.heappushpop(heap, key)
    heap.sort()
    yield from heap
