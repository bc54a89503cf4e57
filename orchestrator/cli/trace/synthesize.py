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

    NAME says how requests arrive: poisson; gamma with cv (spread of the gaps: 1 is poisson, 3 is bursty); diurnal with period_s and
    amplitude. As `--trace synthetic:NAME` the other commands take the same names.

    lengths=2048/64 is a prompt and an output of that many tokens. lengths=NAME draws them as published traces have them: azure-code,
    azure-conversation (if absent), mooncake, ldc, arxiv, sharegpt, long-chat, reasoning. lengths=sharegpt:0.6,ldc:0.4 mixes them.

    tiers=interactive:0.3,batch:0.7 gives each request a tier of the cluster.yaml with that weight; with rotate_s the weights move on
    after so many seconds. rate is requests per second. A wrong name or parameter lists what there is.

    Example: pdctl trace synthesize 'gamma?cv=3&lengths=azure-code&rate=5' load.jsonl

    Example: pdctl trace synthesize 'poisson?lengths=2048/64&tiers=interactive:0.3,batch:0.7' load.jsonl --requests 5000
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
