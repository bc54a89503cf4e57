"""How many requests have passed, on stderr: a live count on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from orchestrator.cli.output import colour_allowed, say
from orchestrator.cli.units import duration

if TYPE_CHECKING:
    from orchestrator.workload.trace import TraceRequest

MEASURE = "measure the rate"
LINE_EVERY_S, SHOW_EVERY_S, LOOK_EVERY = 5.0, 0.2, 1024


def counted(rows: Iterable[TraceRequest], what: str) -> Iterator[TraceRequest]:
    """`rows`, while their number shows. Short work shows nothing."""
    if sys.stderr.isatty():
        yield from _live(rows, what)
        return
    next_s = time.monotonic() + LINE_EVERY_S
    for count, row in enumerate(rows, 1):
        if count % LOOK_EVERY == 0 and time.monotonic() >= next_s:
            next_s = time.monotonic() + LINE_EVERY_S
            say(_text(what, count, row))
        yield row


def measuring(rows: Iterable[TraceRequest]) -> Iterator[TraceRequest]:
    """`rows` of the pass that finds the trace's own rate."""
    return counted(rows, MEASURE)


def _live(rows: Iterable[TraceRequest], what: str) -> Iterator[TraceRequest]:
    from rich.console import Console

    console = Console(stderr=True, no_color=not colour_allowed(sys.stderr))
    next_s = time.monotonic()
    with console.status(what) as status:
        for count, row in enumerate(rows, 1):
            if count % LOOK_EVERY == 0 and time.monotonic() >= next_s:
                next_s = time.monotonic() + SHOW_EVERY_S
                status.update(_text(what, count, row))
            yield row


def _text(what: str, count: int, row: TraceRequest) -> str:
    # Times of the trace itself may count from anywhere; paced ones start at 0.
    at = "" if row.arrival_s is None or what == MEASURE else f", {duration(row.arrival_s)} of the trace"
    return f"{what}: {count:,} requests{at}"
