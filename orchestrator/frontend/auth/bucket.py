"""A token bucket on a monotonic clock."""

from __future__ import annotations


class Bucket:
    """Holds up to `per_minute`, fills at `per_minute` / 60 per second. Times in seconds.

    A cost above what it can ever hold needs a full bucket and leaves a debt, so that the mean rate holds and nobody waits for ever.
    """

    __slots__ = ("_filled_s", "_level", "per_minute")

    def __init__(self, per_minute: float, now_s: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._filled_s = now_s

    def take(self, cost: float, now_s: float) -> float:
        """Take `cost` and return 0, or take nothing and return the seconds until it can be had."""
        self._fill(now_s)
        missing = min(cost, self.per_minute) - self._level
        if missing > 1e-9:
            return missing * 60.0 / self.per_minute
        self._level -= cost
        return 0.0

    def give(self, cost: float) -> None:
        """Put back what was taken and not used."""
        self._level = min(self.per_minute, self._level + cost)

    def resize(self, per_minute: float, now_s: float) -> None:
        """Another rate from now on."""
        self._fill(now_s)
        self.per_minute = per_minute
        self._level = min(self._level, per_minute)

    def _fill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._filled_s) * self.per_minute / 60.0
        self._level = min(self.per_minute, self._level + gained)
        self._filled_s = max(now_s, self._filled_s)
