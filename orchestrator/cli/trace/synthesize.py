"""`pdctl trace synthesize`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.output import say
from orchestrator.cli.trace.convert import FormatOption
from orchestrator.cli.trace.options import (
    ForceOption,
    OutArgument,
    RateOption,
    SeedOption,
    StartOption,
    check_out,
    check_pace,
    form_for,
    say_notes,
    trace_errors,
)
from orchestrator.cli.trace.progress import counted, measuring
from orchestrator.workload.writer import write_trace

DEFAULT_REQUESTS = 1000
NAME_HELP = "poisson, gamma or diurnal, with ?parameter=value&…; or servegen:RATES_FILE."


def synthesize(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP, show_default=False)],
    out: OutArgument,
    form: FormatOption = None,
    requests: Annotated[
        int | None, typer.Option(min=1, help="This many; 1,000 without --duration-s.", show_default=False)
    ] = None,
    start_s: StartOption = 0.0,
    duration_s: Annotated[
        float | None, typer.Option(metavar="S", help="This many seconds of arrivals.", show_default=False)
    ] = None,
    rate: RateOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
) -> None:
    """Generate a trace and write it in Tandem's own form. The same seed gives the same file.

    Parameters: lengths=azure-code or 2048/64 or sharegpt:0.6,ldc:0.4; tiers=interactive:0.3,batch:0.7; rotate_s; rate; gamma: cv;
    diurnal: period_s, amplitude. A wrong one lists what there is.

    Example: pdctl trace synthesize 'gamma?cv=3&tiers=a:0.3,b:0.7' load.jsonl
    """
    from orchestrator.workload.notes import Notes
    from orchestrator.workload.selection import shaped
    from orchestrator.workload.shape import Shape
    from orchestrator.workload.source import is_drawn

    check_out(out, force)
    check_pace(rate, duration_s)
    written = form_for(out, form)
    notes = Notes()
    with trace_errors():
        trace = name if is_drawn(name) else f"synthetic:{name}"
        if requests is None and duration_s is None:
            requests = DEFAULT_REQUESTS
        shape = Shape(trace, requests, rate, seed=seed, start_s=start_s, duration_s=duration_s)
        count = write_trace(counted(shaped(shape, notes, measuring=measuring), "synthesize"), out, written)
    say_notes(notes)
    say(f"{count:,} requests written to {out}")
