"""How often each decision was taken for each reason."""

from __future__ import annotations

from collections import Counter

from orchestrator.core.decisions import Placement, Reason


class Decisions:
    """Counts by decision and reason."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, decision: str, reason: Reason) -> None:
        """One more of this decision for this reason."""
        self._counts[decision, reason] += 1

    def placed(self, phase: str, placement: Placement) -> None:
        """A routing decision for `phase`."""
        self.count(f"routing.{phase}", placement.reason)

    def as_json(self) -> dict[str, dict[str, int]]:
        """decision → reason → count, both in alphabetical order."""
        found: dict[str, dict[str, int]] = {}
        for (decision, reason), count in sorted(self._counts.items()):
            found.setdefault(decision, {})[str(reason)] = count
        return found
