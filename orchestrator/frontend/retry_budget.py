"""Bounds retries to a share of the requests, so that a sick cluster is not made sicker by its own retries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class RetryBudget:
    """Every request adds `ratio` of a retry, up to `most`; every retry takes one. It starts full.

    Attempts that a lost worker ended do not count: they are bounded by what ran there.
    """

    ratio: float = 0.2
    most: float = 100.0
    left: float = 100.0

    def request(self) -> None:
        self.left = min(self.most, self.left + self.ratio)

    def retry(self) -> bool:
        """Take one; False when there is none."""
        if self.left < 1:
            return False
        self.left -= 1
        return True
