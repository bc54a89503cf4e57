"""How far a run has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from orchestrator.cli.output import colour_allowed, say
from orchestrator.cli.units import duration
from orchestrator.report.outcome import Outcome, Verdict

LINE_EVERY_S = 5.0


class Progress:
    """Counts outcomes of `total` requests (None: not known); use as a context manager."""

    def __init__(self, total: int | None, label: str = "replay") -> None:
        self._total = total
        self._label = label
        self._counts: Counter[Verdict] = Counter()
        self._last_ttft_s: float | None = None
        self._begun_s = time.monotonic()
        self._next_line_s = self._begun_s + LINE_EVERY_S
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            console = Console(stderr=True, no_color=not colour_allowed(sys.stderr))
            columns = (
                TextColumn(self._label),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Bar(*columns, console=console, transient=False)
            self._bar.start()
            self._task = self._bar.add_task(self._label, total=self._total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, outcome: Outcome) -> None:
        """One request has ended."""
        self._counts[outcome.verdict] += 1
        self._last_ttft_s = outcome.ttft_s if outcome.ttft_s is not None else self._last_ttft_s
        if self._bar is not None:
            self._bar.update(self._task, advance=1, note=self._note())
        elif time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + LINE_EVERY_S
            say(f"replay: {sum(self._counts.values())}/{self._total} {self._note()}")

    def reached(self, done: int, note: str) -> None:
        """So many requests are over."""
        if note:
            note = f"{note}, {done / max(time.monotonic() - self._begun_s, 1e-9):,.0f} requests/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + LINE_EVERY_S
            of = f"/{self._total}" if self._total is not None else ""
            say(f"{self._label}: {done}{of} {note}")

    def _note(self) -> str:
        bad = [f"{self._counts[v]} {v}" for v in (Verdict.FAILED, Verdict.REJECTED) if self._counts[v]]
        return ", ".join([f"TTFT {duration(self._last_ttft_s)}", *bad])
