"""How often each decision was taken for each reason."""

from __future__ import annotations

from collections import Counter

from orchestrator.core.decisions import Placement, Reason


class Decisions:
    """Counts by decision and reason."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def count(self, decision: str, reason: Reason) -> None:
        """One more of this decision for this reason."""
        self._counts.setdefault(decision, Counter())[reason.value] += 1

    def placed(self, phase: str, placement: Placement) -> None:
        """A routing decision for `phase`."""
        self.count(f"routing.{phase}", placement.reason)

    def as_json(self) -> dict[str, dict[str, int]]:
        """decision → reason → count, both in alphabetical order."""
        return {decision: dict(sorted(counts.items())) for decision, counts in sorted(self._counts.items())}
