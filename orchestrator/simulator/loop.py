"""The event loop: events return events, and time never goes back."""

from __future__ import annotations

import gc
import heapq
from collections.abc import Callable, Sequence

Action = Callable[[float], "Events"]
Events = Sequence[tuple[float, Action]]
"""When (seconds) and what; an action gets the time at which it runs and returns what follows from it."""

NOTHING: Events = ()


class Loop:
    """Events in order of time; those of one time in the order in which they were returned."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Action]] = []
        self._order = 0

    def push(self, events: Events) -> None:
        for time_s, action in events:
            assert time_s >= self.now_s, f"an event at {time_s} s, which is past: it is {self.now_s} s"
            self._order += 1
            heapq.heappush(self._heap, (time_s, self._order, action))

    def run(self, is_over: Callable[[], bool]) -> None:
        """Until `is_over`, or until nothing is left to happen."""
        heap = self._heap
        # Objects die as they are dropped; looking for cycles among a hundred thousand live ones would take a sixth of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            while heap and not is_over():
                self.now_s, _, action = heapq.heappop(heap)
                self.events += 1
                self.push(action(self.now_s))
        finally:
            if collecting:
                gc.enable()
