"""The stages of a request on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.cli.documents import Document
from orchestrator.cli.output import Table
from orchestrator.cli.units import duration

BAR_CELLS = 24


class Timeline:
    """Prints stages with the time at which each began, counted from the request's arrival, and a bar to scale."""

    def __init__(self, stages: Sequence[Document]) -> None:
        self._stages = sorted(stages, key=lambda s: (s["attempt"], s["started_s"]))
        self._end = max((s["started_s"] + s["seconds"] for s in self._stages), default=0.0)

    @property
    def total_s(self) -> float:
        """From arrival to the end of the last stage, in seconds."""
        return self._end

    def print(self, indent: str = "") -> None:
        """Print the table on stdout."""
        several = len({s["attempt"] for s in self._stages}) > 1
        table = Table([f"{indent}STAGE", "WORKER", "AT", "TOOK", "", "WHY"])
        table.print([self._row(s, indent, several) for s in self._stages])

    def _row(self, stage: Document, indent: str, several: bool) -> list[str]:
        at = stage["started_s"]
        name = f"{indent}{stage['name']}" + (f" (attempt {stage['attempt']})" if several else "")
        why = stage["reason"] + (f": {stage['detail']}" if stage["detail"] and stage["reason"] else stage["detail"])
        worker = stage["worker"] or "-"
        return [
            name,
            worker,
            f"+{duration(max(at, 0.0))}",
            duration(stage["seconds"]),
            self._bar(at, stage["seconds"]),
            why,
        ]

    def _bar(self, at: float, seconds: float) -> str:
        scale = BAR_CELLS / self._end if self._end > 0 else 0.0
        first = min(int(at * scale), BAR_CELLS - 1)
        cells = max(1, min(round(seconds * scale), BAR_CELLS - first))
        return ("·" * first + "█" * cells).ljust(BAR_CELLS, "·")
