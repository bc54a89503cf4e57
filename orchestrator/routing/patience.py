"""How long a request that arrives now would wait for its first token, from how fast first tokens have been coming."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT = 0.1


@dataclass(slots=True)
class Patience:
    """Counts requests that wait for a first token, in a queue or in a prefill.

    The pace is the mean time between first tokens while somebody waited, so an idle cluster is not taken for a slow one.
    Times are those of one monotonic clock, handed in.
    """

    waiting: int = 0
    _pace_s: float = 0.0
    _last_s: float = 0.0

    def arrived(self, now_s: float) -> None:
        """A request begins to wait."""
        if not self.waiting:
            self._last_s = now_s
        self.waiting += 1

    def served(self, now_s: float) -> None:
        """One of them got its first token."""
        gap_s, self._last_s = now_s - self._last_s, now_s
        self._pace_s = gap_s if not self._pace_s else self._pace_s + WEIGHT * (gap_s - self._pace_s)
        self.waiting -= 1

    def left(self) -> None:
        """One of them gave up."""
        self.waiting -= 1

    def wait_s(self) -> float:
        """Time to the first token of a request that arrives now."""
        return (self.waiting + 1) * self._pace_s if self.waiting else 0.0
