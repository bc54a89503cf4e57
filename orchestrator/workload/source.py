"""Where a trace comes from: a file, published distributions, or a generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.workload import servegen, synthetic
from orchestrator.workload.columns import RATES
from orchestrator.workload.notes import Notes
from orchestrator.workload.reader import header_of, read_trace
from orchestrator.workload.trace import SAMPLE, TraceRequest


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of a trace. `drawn` ones are made up as they are read: in order of time, on a clock of their own that starts at 0,
    and as many as one takes. `paced` ones have the wanted rate already.
    """

    rows: Iterator[TraceRequest]
    drawn: bool = False
    paced: bool = False


def open_trace(
    name: str, seed: int = 0, rate: float | None = None, start_s: float = 0.0, notes: Notes | None = None
) -> Source:
    """Open a trace by name: PATH, `sample`, `servegen:RATES_FILE` (the file alone will do) or `synthetic:NAME?…`. Raises TraceError.

    `start_s` lets published distributions skip what comes before; files and generators ignore it.
    """
    if name.startswith(synthetic.PREFIX):
        return Source(synthetic.synthetic(name.removeprefix(synthetic.PREFIX), seed, rate), drawn=True, paced=True)
    if is_drawn(name):
        # The start of a slice may be anything here; it is checked where slices are cut.
        begin = start_s if math.isfinite(start_s) else 0.0
        return Source(servegen.servegen(Path(name.removeprefix(servegen.PREFIX)), seed, begin, notes), drawn=True)
    return Source(read_trace(name, notes))


def is_drawn(name: str) -> bool:
    """Whether a trace's requests are made up as they are read, so that it has as many as one takes."""
    return name.startswith((synthetic.PREFIX, servegen.PREFIX)) or _has_rates(name)


def _has_rates(name: str) -> bool:
    # Only the name that published rates have is worth opening the file twice; pipes cannot be.
    if name == SAMPLE or not name.removesuffix(".gz").endswith(servegen.RATES):
        return False
    return RATES in header_of(Path(name))
