"""Generated traces: arrivals of a random process with lengths of a known workload."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from orchestrator.workload import processes
from orchestrator.workload.lengths import Mix
from orchestrator.workload.parameters import parse_name
from orchestrator.workload.tiers import with_tiers
from orchestrator.workload.trace import TraceRequest

PREFIX = "synthetic:"
DEFAULT_RATE = 1.0
CHUNK = 1024


def synthetic(name: str, seed: int, rate: float | None = None) -> Iterator[TraceRequest]:
    """Endless requests in order of time; `name` is what follows `synthetic:`, and `rate` goes before the name's. Raises TraceError.

    Arrivals, lengths and tiers have streams of their own, so that another rate keeps the lengths.
    """
    kind, given = parse_name(name)
    return _requests(kind, given, seed, rate or given["rate"] or DEFAULT_RATE)


def _requests(kind: str, given: dict[str, Any], seed: int, rate: float) -> Iterator[TraceRequest]:
    arrivals = _arrivals(kind, given, np.random.default_rng([seed, 1]), rate)
    lengths = _lengths(given["lengths"], np.random.default_rng([seed, 1, 1]))
    rows = (TraceRequest(at, i, o) for at, (i, o) in zip(arrivals, lengths, strict=False))
    if given["tiers"] is None:
        return rows
    return with_tiers(rows, given["tiers"], np.random.default_rng([seed, 1, 2]), given["rotate_s"])


def _arrivals(kind: str, given: dict[str, Any], draw: np.random.Generator, rate: float) -> Iterator[float]:
    if math.isinf(rate):
        return processes.at_once()
    if kind == "gamma":
        return processes.gamma(draw, rate, given["cv"])
    if kind == "diurnal":
        return processes.diurnal(draw, rate, given["period_s"], given["amplitude"])
    return processes.poisson(draw, rate)


def _lengths(mix: Mix, draw: np.random.Generator) -> Iterator[tuple[int, int]]:
    while True:
        inputs, outputs = mix.draw(draw, CHUNK)
        yield from zip(inputs.tolist(), outputs.tolist(), strict=True)
