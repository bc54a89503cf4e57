"""The values of `--sweep`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.cli.errors import CliError, usage

MOST = 200
HELP = "write rate=1:10:1 (from, to, step) or rate=1,2,5; or a key of the configuration, as for --set"
RATE = "rate"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A key and what it takes in turn: `rate`, or a key of the configuration."""

    key: str
    values: tuple[Any, ...]


def parse(text: str) -> Sweep:
    """Read `KEY=A,B,C` or `KEY=FROM:TO:STEP`; raises CliError."""
    key, equals, listed = text.partition("=")
    key = key.strip()
    if not equals or not key or not listed.strip():
        raise usage(f"{text!r} sweeps nothing", "--sweep", HELP)
    values = _range(listed) if ":" in listed else _list(listed)
    if not 0 < len(values) <= MOST:
        raise usage(f"{text!r} has {len(values)} values", "--sweep", f"give 1 to {MOST}")
    for value in values if key == RATE else ():
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
            raise usage(f"rate {value} is not above 0", "--sweep", "give positive numbers of requests per second")
    return Sweep(key, values)


def _range(text: str) -> tuple[Any, ...]:
    try:
        start, stop, step = (float(part) for part in text.split(":"))
        if step <= 0 or not all(map(math.isfinite, (start, stop, step))):
            raise ValueError
    except ValueError:
        raise _no_range(text) from None
    count = min(MOST + 1, math.floor((stop - start) / step + 1e-9) + 1)
    values = (round(start + i * step, 9) for i in range(count))
    return tuple(int(value) if value.is_integer() else value for value in values)


def _list(text: str) -> tuple[Any, ...]:
    try:
        return tuple(yaml.safe_load(f"[{text}]"))
    except yaml.YAMLError:
        raise usage(f"{text!r} is no list of values", "--sweep", HELP) from None


def _no_range(text: str) -> CliError:
    return usage(f"{text!r} is no range", "--sweep", HELP)
