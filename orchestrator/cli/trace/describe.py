"""`pdctl trace describe`."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.documents import single
from orchestrator.cli.output import Form, FormOption, Table, dump, pairs
from orchestrator.cli.trace.options import (
    DurationOption,
    RateOption,
    RequestsOption,
    SeedOption,
    SkipOption,
    StartOption,
    TiersOption,
    TraceArgument,
    check_pace,
    say_notes,
    trace_errors,
)
from orchestrator.cli.trace.progress import counted, measuring
from orchestrator.cli.units import duration

DRAWN_REQUESTS = 10_000


def describe(
    trace: TraceArgument,
    requests: RequestsOption = None,
    start_s: StartOption = 0.0,
    duration_s: DurationOption = None,
    skip: SkipOption = 0,
    rate: RateOption = None,
    seed: SeedOption = 0,
    tiers: TiersOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Show arrivals, lengths, prefix sharing and tiers of a trace.

    The trace is read row by row, however long it is. Of generated traces the first 10,000 requests are shown, unless an option says
    how many.

    Example: pdctl trace describe 'synthetic:gamma?cv=3' --rate 5
    """
    from orchestrator.workload.notes import Notes
    from orchestrator.workload.selection import shaped
    from orchestrator.workload.shape import Shape
    from orchestrator.workload.source import is_drawn
    from orchestrator.workload.statistics import Statistics

    check_pace(rate, duration_s)
    with trace_errors():
        if requests is None and duration_s is None and is_drawn(trace):
            requests = DRAWN_REQUESTS
        notes, statistics = Notes(), Statistics()
        shape = Shape(trace, requests, rate, seed=seed, start_s=start_s, duration_s=duration_s, skip=skip, tiers=tiers)
        for row in counted(shaped(shape, notes, keep_missing=True, measuring=measuring), "describe"):
            statistics.add(row)
    document = {"trace": trace, **statistics.document(), "left_out": dict(notes.left_out)}
    if output is Form.TABLE:
        _print(document)
        say_notes(notes)
    else:
        print(dump(single("Trace", document), output))


def _print(document: dict[str, Any]) -> None:
    arrivals, prefix = document["arrivals"], document["prefix"]
    lines = [("Trace", document["trace"]), ("Requests", f"{document['requests']:,}")]
    if arrivals is None:
        lines.append(("Arrivals", "none; give a rate to generate them"))
    else:
        peak = arrivals["peak_minute_rps"]
        mean = "all at once" if arrivals["rate_rps"] is None else f"{arrivals['rate_rps']:.3g} requests/s mean"
        lines += [
            ("Span", duration(arrivals["span_s"])),
            ("Rate", mean if peak is None else f"{mean}, {peak:.3g} in the busiest minute"),
            ("CV of gaps", "-" if arrivals["cv"] is None else f"{arrivals['cv']:.2f}"),
        ]
    if prefix is not None:
        shares = f"{prefix['blocks']:,} blocks, {prefix['distinct_blocks']:,} distinct"
        lines.append(("Prefixes", f"{shares}, ideal hit ratio {prefix['ideal_hit_ratio']:.1%}"))
    total = document["requests"]
    if document["tiers"]:
        lines.append(("Tiers", ", ".join(f"{name} {count / total:.1%}" for name, count in document["tiers"].items())))
    pairs(lines)
    print()
    rows = []
    for name, key in (("input", "input_tokens"), ("output", "output_tokens")):
        figures = document[key]
        cells = (f"{figures[p]:,.0f}" for p in ("p50", "p90", "p99", "max", "total"))
        rows.append([name, f"{figures['mean']:,.1f}", *cells])
    Table(["TOKENS", "MEAN", "P50", "P90", "P99", "MAX", "TOTAL"]).print(rows)
