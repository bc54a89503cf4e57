"""Synthetic traces: Poisson arrivals with log-normal lengths like those of a chat service."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from orchestrator.workload.trace import TraceError, TraceRequest

PREFIX = "synthetic:"
NAMES = ("poisson",)
# Medians and spreads of the Azure 2023 conversation trace (1,020 in, 129 out); the tail is what a log-normal gives.
INPUT_MEDIAN, INPUT_SIGMA = 1020.0, 0.8
OUTPUT_MEDIAN, OUTPUT_SIGMA = 129.0, 0.9
LONGEST_TOKENS = 16384


def synthetic(name: str, seed: int, rate: float) -> Iterator[TraceRequest]:
    """Endless requests at `rate` per second; `name` is what follows `synthetic:`. Raises TraceError."""
    if name not in NAMES:
        known = ", ".join(PREFIX + n for n in NAMES)
        raise TraceError(f"no synthetic trace {name!r}", "--trace", f"use {known}")
    draw = np.random.default_rng([seed, 1])
    arrival_s = 0.0
    while True:
        yield TraceRequest(
            arrival_s,
            _length(draw, INPUT_MEDIAN, INPUT_SIGMA),
            _length(draw, OUTPUT_MEDIAN, OUTPUT_SIGMA),
        )
        arrival_s += draw.exponential(1 / rate) if math.isfinite(rate) else 0.0


def _length(draw: np.random.Generator, median: float, sigma: float) -> int:
    return int(min(max(1.0, draw.lognormal(math.log(median), sigma)), LONGEST_TOKENS))
