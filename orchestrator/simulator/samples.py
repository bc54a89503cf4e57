"""Samples of a worker or a front door over time, at most so many whatever the length of the run."""

from __future__ import annotations

MOST = 1024
FINEST_S = 0.01


class Samples:
    """When full, every other sample goes and the pace halves. `due_s` is when the next one is wanted."""

    def __init__(self) -> None:
        self.due_s = 0.0
        self.rows: list[tuple[float, int, int, float]] = [(0.0, 0, 0, 0.0)]
        self._pace_s = FINEST_S

    def add(self, time_s: float, queue: int, running: int, kv: float) -> None:
        """Requests that wait, requests that run, and the used share of the KV pool."""
        self.rows.append((time_s, queue, running, kv))
        if len(self.rows) > MOST:
            del self.rows[1::2]
            self._pace_s *= 2
        self.due_s = time_s + self._pace_s
