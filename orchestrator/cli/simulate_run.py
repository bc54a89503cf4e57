"""A simulation from the command line to its reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from orchestrator.cli.config.files import load_file
from orchestrator.cli.errors import CliError, ExitCode, usage
from orchestrator.cli.files import written_first
from orchestrator.cli.output import Form, Table, dump, say
from orchestrator.cli.overrides import assignment, overridden
from orchestrator.cli.report_table import print_report
from orchestrator.cli.simulate_once import Interrupted, simulate_once
from orchestrator.cli.simulate_order import Order
from orchestrator.cli.sweep import RATE, Sweep, parse
from orchestrator.cli.units import duration
from orchestrator.core.config import Cluster, ConfigError
from orchestrator.performance.error import CatalogError
from orchestrator.simulator.run import Result
from orchestrator.simulator.scenario import scenario
from orchestrator.workload.shape import check
from orchestrator.workload.trace import TraceError

Points = Sequence[tuple[Any, Result]]


def run(order: Order) -> None:
    """Simulate, print, write what was asked for. Raises CliError, and typer.Exit after Ctrl-C."""
    try:
        check(order.shape)
    except TraceError as error:
        raise usage(error.what, "pdctl simulate", error.do) from error
    try:
        cluster = overridden(_cluster(order.file), _assignments(order))
        if order.sweep is not None:
            _sweep(order, cluster, parse(order.sweep))
        else:
            _single(order, cluster)
    except (CatalogError, TraceError) as error:
        raise CliError(error.what, error.where, error.do) from error


def _single(order: Order, cluster: Cluster) -> None:
    try:
        result = simulate_once(order, scenario(cluster), order.shape, "simulate", spans=order.chrome is not None)
    except Interrupted as stop:
        say(f"interrupted after {stop.requests:,} requests; nothing written")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    document = result.document
    with written_first() as files:
        if order.report is not None:
            files.write(order.report, _page_or_json(order.report, document, result))
        if order.chrome is not None:
            from orchestrator.report.chrome import chrome

            files.write(order.chrome, json.dumps(chrome(result.timeline), separators=(",", ":")))
        if order.output is Form.TABLE:
            print_report(document)
        else:
            print(dump(document, order.output), flush=True)
    if not document["requests"]["completed"]:
        first = next(iter(document["errors"]), "unknown")
        raise CliError("no request completed", f"most often: {first}", "give the cluster more workers or time")


def _sweep(order: Order, cluster: Cluster, sweep: Sweep) -> None:
    points: list[tuple[Any, Result]] = []
    # Rates change the load alone, so all their runs share one cluster and what its latency model has worked out.
    same = scenario(cluster) if sweep.key == RATE else None
    for value in sweep.values:
        shape = order.shape if same is None else replace(order.shape, rate=float(value))
        what = same or scenario(overridden(cluster, [(sweep.key, value)]))
        label = f"{sweep.key}={value}"
        try:
            points.append((value, simulate_once(order, what, shape, label)))
        except Interrupted as stop:
            _publish(order, sweep, points)
            done = f"{len(points)} of {len(sweep.values)} points are done" if points else "nothing written"
            say(f"interrupted at {label} after {stop.requests:,} requests; {done}")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    _publish(order, sweep, points)


def _publish(order: Order, sweep: Sweep, points: Points) -> None:
    if not points:
        return
    documents = [(value, result.document) for value, result in points]
    found = {"sweep": sweep.key, "points": [{"value": value, "report": document} for value, document in documents]}
    with written_first() as files:
        if order.report is not None:
            files.write(order.report, _page_or_json(order.report, found, points[-1][1], documents))
        if order.output is Form.TABLE:
            figures = ("GOODPUT", "IN SLO", "REQUESTS/S", "TTFT P50", "TTFT P99", "TPOT P50", "TPOT P99")
            headers = [sweep.key.upper(), *figures, "FAILED", "REJECTED"]
            Table(headers).print([_row(value, document) for value, document in documents])
        else:
            print(dump(found, order.output), flush=True)


def _page_or_json(
    file: Path, document: Any, result: Result, sweep: Sequence[tuple[Any, dict[str, Any]]] | None = None
) -> str:
    if file.suffix != ".html":
        return dump(document, "json")
    from orchestrator.report.page import page

    axis = "rate" if sweep is None else document["sweep"]
    return page(result.document, result.outcomes, result.timeline, sweep, axis=axis)


def _row(value: Any, document: dict[str, Any]) -> list[str]:
    counts, attained = document["requests"], document["slo_attainment"]
    return [
        str(value),
        "-" if attained is None else f"{document['goodput_rps']:.2f}",
        "-" if attained is None else f"{attained:.1%}",
        f"{document['throughput']['requests_per_s']:.2f}",
        *(duration(document[figure][point]) for figure in ("ttft_s", "tpot_s") for point in ("p50", "p99")),
        str(counts["failed"]),
        str(counts["rejected"]),
    ]


def _cluster(file: Path | None) -> Cluster:
    if file is None:
        return Cluster()
    try:
        return load_file(file)
    except ConfigError as error:
        raise CliError("\n".join(str(problem) for problem in error.problems)) from error


def _assignments(order: Order) -> list[tuple[str, Any]]:
    found = []
    for text in order.policies:
        decision, _, rest = text.partition("=")
        name, *parameters = rest.split(",")
        found.append(assignment(f"policies.{decision}={name}"))
        found += [assignment(f"policies.{decision}.{parameter}") for parameter in parameters]
    return found + [assignment(text) for text in order.changes]
