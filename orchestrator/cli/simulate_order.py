"""What the user of `pdctl simulate` asked for, and what of it holds for every run of a sweep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cli.errors import usage
from orchestrator.cli.output import Form
from orchestrator.performance.cost import Basis, hourly_cost
from orchestrator.simulator.controller import Fault
from orchestrator.simulator.device import Device
from orchestrator.simulator.scenario import Scenario
from orchestrator.workload.shape import Shape

_FAULT = re.compile(r"(?P<worker>[^@]+)@(?P<at>\d+(\.\d+)?)(\+(?P<restart>\d+(\.\d+)?))?")
PRICED, RENTED, AMORTISED = "usdPerHour of the pools", "rents of the catalog", "dies and memory, over four years"


@dataclass(frozen=True, slots=True)
class Order:
    """A command line."""

    file: Path | None
    shape: Shape
    policies: Sequence[str]
    changes: Sequence[str]
    faults: Sequence[str]
    sweep: str | None
    report: Path | None
    chrome: Path | None
    output: Form


def faults(texts: Sequence[str], what: Scenario) -> tuple[Fault, ...]:
    """The faults of `--fail`. Raises CliError."""
    workers = [f"{pool.name}-{number}" for pool in what.spec.pools for number in range(pool.count)]
    found = []
    for text in texts:
        match = _FAULT.fullmatch(text)
        if match is None:
            raise usage(f"{text!r} is no fault", "--fail", "write WORKER@SECONDS or WORKER@SECONDS+SECONDS")
        if match["worker"] not in workers:
            known = ", ".join(workers[:8]) + (", …" if len(workers) > 8 else "")
            raise usage(f"there is no worker {match['worker']!r}", "--fail", f"use one of {known}")
        restart_s = float(match["restart"]) if match["restart"] else None
        found.append(Fault(match["worker"], float(match["at"]), restart_s))
    return tuple(found)


def facts(what: Scenario, shape: Shape) -> dict[str, Any]:
    """What was run, for the report."""
    found: dict[str, Any] = {"trace": shape.trace, "rate": shape.rate, "model": what.model.name}
    pools = list(zip(what.spec.pools, what.devices, strict=True))
    bases = dict.fromkeys(_basis(pool.usd_per_hour, device) for pool, device in pools)
    found["cost basis"] = " and ".join(basis for basis in bases if basis) or None
    for pool, device in pools:
        devices = f"{device.devices} x {device.hardware.name}" if device.devices > 1 else device.hardware.name
        found[f"pool {pool.name}"] = f"{pool.count} workers of {devices}, role {pool.role}"
    return found


def _basis(usd_per_hour: float | None, device: Device) -> str | None:
    if usd_per_hour is not None:
        return PRICED
    known = hourly_cost(device.hardware, device.devices)
    return None if known is None else RENTED if known.basis is Basis.RENT else AMORTISED
