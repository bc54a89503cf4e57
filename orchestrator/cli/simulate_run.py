"""A simulation from the command line to its reports."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.cli.config.files import load_file
from orchestrator.cli.errors import CliError, usage
from orchestrator.cli.output import Form, Table, dump, say
from orchestrator.cli.overrides import assignment, overridden
from orchestrator.cli.progress import Progress
from orchestrator.cli.report_table import print_report
from orchestrator.cli.sweep import RATE, Sweep, parse
from orchestrator.cli.units import duration
from orchestrator.cli.version import package_version
from orchestrator.core.config import Cluster, ConfigError
from orchestrator.performance.error import CatalogError
from orchestrator.simulator.controller import Fault
from orchestrator.simulator.run import Options, Result, simulate_scenario
from orchestrator.simulator.scenario import Scenario, scenario
from orchestrator.workload.notes import Notes
from orchestrator.workload.schedule import Shape, arrivals
from orchestrator.workload.shape import check
from orchestrator.workload.trace import TraceError

_FAULT = re.compile(r"(?P<worker>[^@]+)@(?P<at>\d+(\.\d+)?)(\+(?P<restart>\d+(\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for."""

    file: Path | None
    shape: Shape
    policies: Sequence[str]
    changes: Sequence[str]
    faults: Sequence[str]
    sweep: str | None
    report: Path | None
    chrome: Path | None
    output: Form


def run(order: Order) -> None:
    """Simulate, print, write what was asked for. Raises CliError."""
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
    result = _simulate(order, scenario(cluster), order.shape, "simulate", spans=order.chrome is not None)
    document = result.document
    if order.report is not None:
        _write(order.report, document, result)
    if order.chrome is not None:
        from orchestrator.report.chrome import chrome

        order.chrome.write_text(json.dumps(chrome(result.timeline), separators=(",", ":")) + "\n")
    if order.output is Form.TABLE:
        print_report(document)
    else:
        print(dump(document, order.output))
    if not document["requests"]["completed"]:
        first = next(iter(document["errors"]), "unknown")
        raise CliError("no request completed", f"most often: {first}", "give the cluster more workers or time")


def _sweep(order: Order, cluster: Cluster, sweep: Sweep) -> None:
    points: list[tuple[Any, Result]] = []
    for value in sweep.values:
        shape, changed = order.shape, cluster
        if sweep.key == RATE:
            shape = replace(shape, rate=float(value))
        else:
            changed = overridden(cluster, [(sweep.key, value)])
        points.append((value, _simulate(order, scenario(changed), shape, f"{sweep.key}={value}")))
    documents = [(value, result.document) for value, result in points]
    found = {"sweep": sweep.key, "points": [{"value": value, "report": document} for value, document in documents]}
    if order.report is not None:
        _write(order.report, found, points[-1][1], documents)
    if order.output is not Form.TABLE:
        print(dump(found, order.output))
        return
    figures = ("GOODPUT", "IN SLO", "REQUESTS/S", "TTFT P50", "TTFT P99", "TPOT P50", "TPOT P99", "FAILED")
    headers = [sweep.key.upper(), *figures]
    Table(headers).print([_row(value, document) for value, document in documents])


def _write(
    file: Path, document: Any, result: Result, sweep: Sequence[tuple[Any, dict[str, Any]]] | None = None
) -> None:
    if file.suffix == ".html":
        from orchestrator.report.page import page

        axis = "rate" if sweep is None else document["sweep"]
        file.write_text(page(result.document, result.outcomes, result.timeline, sweep, axis=axis) + "\n")
    else:
        file.write_text(dump(document, "json") + "\n")


def _row(value: Any, document: dict[str, Any]) -> list[str]:
    counts, attained = document["requests"], document["slo_attainment"]
    return [
        str(value),
        "-" if attained is None else f"{document['goodput_rps']:.2f}",
        "-" if attained is None else f"{attained:.1%}",
        f"{document['throughput']['requests_per_s']:.2f}",
        *(duration(document[figure][point]) for figure in ("ttft_s", "tpot_s") for point in ("p50", "p99")),
        str(counts["failed"] + counts["rejected"]),
    ]


def _simulate(order: Order, what: Scenario, shape: Shape, label: str, *, spans: bool = False) -> Result:
    notes = Notes()
    with Progress(shape.requests, label) as progress:
        options = Options(
            seed=shape.seed,
            version=package_version(),
            faults=_faults(order.faults, what),
            spans=spans,
            facts=_facts(what, shape),
            progress=lambda done, at_s: progress.reached(done, f"simulated {duration(at_s)}"),
        )
        result = simulate_scenario(what, arrivals(shape, what.max_tokens, notes), options)
        progress.reached(len(result.outcomes), "")
    for line in notes.lines():
        say(f"note: {line}")
    if not result.outcomes:
        raise TraceError("the trace has no requests", shape.trace, "give a trace with at least one request")
    return result


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


def _faults(texts: Sequence[str], what: Scenario) -> tuple[Fault, ...]:
    workers = [f"{pool.name}-{number}" for pool in what.spec.pools for number in range(pool.count)]
    faults = []
    for text in texts:
        match = _FAULT.fullmatch(text)
        if match is None:
            raise usage(f"{text!r} is no fault", "--fail", "write WORKER@SECONDS or WORKER@SECONDS+SECONDS")
        if match["worker"] not in workers:
            known = ", ".join(workers[:8]) + (", …" if len(workers) > 8 else "")
            raise usage(f"there is no worker {match['worker']!r}", "--fail", f"use one of {known}")
        restart_s = float(match["restart"]) if match["restart"] else None
        faults.append(Fault(match["worker"], float(match["at"]), restart_s))
    return tuple(faults)


def _facts(what: Scenario, shape: Shape) -> dict[str, Any]:
    facts: dict[str, Any] = {"trace": shape.trace, "rate": shape.rate, "model": what.model.name}
    priced = all(pool.usd_per_hour is not None for pool in what.spec.pools)
    facts["cost basis"] = "usdPerHour of the pools" if priced else "dies and memory, over four years"
    for pool, device in zip(what.spec.pools, what.devices, strict=True):
        devices = f"{device.devices} x {device.hardware.name}" if device.devices > 1 else device.hardware.name
        facts[f"pool {pool.name}"] = f"{pool.count} workers of {devices}, role {pool.role}"
    return facts
