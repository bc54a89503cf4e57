"""`pdctl trace convert`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.output import say
from orchestrator.cli.trace.options import (
    DurationOption,
    ForceOption,
    OutArgument,
    RateOption,
    RequestsOption,
    SeedOption,
    SkipOption,
    StartOption,
    TiersOption,
    TraceArgument,
    check_out,
    check_pace,
    form_for,
    say_notes,
    trace_errors,
)
from orchestrator.cli.trace.progress import counted, measuring
from orchestrator.workload.writer import FileForm, write_trace

FormatOption = Annotated[
    FileForm | None, typer.Option("--format", help="Form of OUT; by its name if absent.", show_default=False)
]


def convert(
    trace: TraceArgument,
    out: OutArgument,
    form: FormatOption = None,
    requests: RequestsOption = None,
    start_s: StartOption = 0.0,
    duration_s: DurationOption = None,
    skip: SkipOption = 0,
    rate: RateOption = None,
    seed: SeedOption = 0,
    tiers: TiersOption = None,
    force: ForceOption = False,
) -> None:
    """Write a trace, or a part of it, in Tandem's own form.

    Arrivals are written in order and count from the first one; lengths, prefixes, tiers and clients stay as they are. The file appears
    when it is whole.

    Example: pdctl trace convert azure.csv.gz part.jsonl --start-s 600 --rate 8
    """
    from orchestrator.workload.notes import Notes
    from orchestrator.workload.selection import shaped
    from orchestrator.workload.shape import Shape

    check_out(out, force)
    check_pace(rate, duration_s)
    written = form_for(out, form)
    notes = Notes()
    shape = Shape(trace, requests, rate, seed=seed, start_s=start_s, duration_s=duration_s, skip=skip, tiers=tiers)
    with trace_errors():
        rows = counted(shaped(shape, notes, keep_missing=True, measuring=measuring), "convert")
        count = write_trace(rows, out, written)
    say_notes(notes)
    say(f"{count:,} requests written to {out}")
