"""From a trace to a schedule: which requests, when, how long."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.workload.reader import read_trace
from orchestrator.workload.synthetic import PREFIX, synthetic
from orchestrator.workload.trace import TraceError, TraceRequest

DEFAULT_REQUESTS = 100
DEFAULT_RATE = 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How to turn a trace into load.

    `rate` (requests per second) stretches the trace's arrivals to that mean and keeps their bursts; where the trace has none, arrivals
    are Poisson. `speedup` divides all gaps instead. Without both, arrivals stay as they are. An infinite rate sends all at once.
    """

    trace: str
    requests: int | None = None
    rate: float | None = None
    speedup: float | None = None
    seed: int = 0
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """One request to send, `at_s` after the start. `clipped` where the model's context forced it to be shorter."""

    index: int
    at_s: float
    input_tokens: int
    output_tokens: int
    prefix_ids: tuple[int, ...] = ()
    clipped: bool = False


def plan(shape: Shape, max_model_tokens: int | None = None) -> list[Planned]:
    """The schedule, in order of time, the same for the same shape; raises TraceError."""
    rows = _rows(shape)
    if not rows:
        raise TraceError("the trace has no requests", shape.trace, "give a trace with at least one request")
    times = _times(rows, shape)
    order = np.argsort(times, kind="stable")
    return [_planned(i, float(times[row]), rows[row], shape, max_model_tokens) for i, row in enumerate(order)]


def _rows(shape: Shape) -> list[TraceRequest]:
    if shape.trace.startswith(PREFIX):
        endless = synthetic(shape.trace.removeprefix(PREFIX), shape.seed, shape.rate or DEFAULT_RATE)
        return list(itertools.islice(endless, shape.requests or DEFAULT_REQUESTS))
    return list(itertools.islice(read_trace(shape.trace), shape.requests))


def _times(rows: list[TraceRequest], shape: Shape) -> npt.NDArray[np.float64]:
    synthetic_times = shape.trace.startswith(PREFIX)
    given = [r.arrival_s for r in rows if r.arrival_s is not None]
    if shape.rate is not None and math.isinf(shape.rate):
        return np.zeros(len(rows))
    if len(given) < len(rows):
        gaps = np.random.default_rng([shape.seed, 2]).exponential(1 / (shape.rate or DEFAULT_RATE), len(rows))
        times = np.cumsum(gaps) - gaps[0]
        return np.asarray(times / (shape.speedup or 1.0))
    times = np.asarray(given, np.float64)
    times -= times.min()
    if shape.rate is not None and not synthetic_times and len(rows) > 1 and times.max() > 0:
        return np.asarray(times * ((len(rows) - 1) / shape.rate / times.max()))
    return np.asarray(times / (shape.speedup or 1.0))


def _planned(index: int, at_s: float, row: TraceRequest, shape: Shape, max_model_tokens: int | None) -> Planned:
    wanted_in = max(1, min(row.input_tokens, shape.max_input_tokens or row.input_tokens))
    wanted_out = max(1, min(row.output_tokens, shape.max_output_tokens or row.output_tokens))
    tokens_in, tokens_out = wanted_in, wanted_out
    if max_model_tokens is not None and wanted_in + wanted_out > max_model_tokens:
        # Output keeps its length up to half of the context; the prompt gives way first.
        tokens_out = min(wanted_out, max(1, max_model_tokens // 2))
        tokens_in = max(1, min(wanted_in, max_model_tokens - tokens_out))
    clipped = (tokens_in, tokens_out) != (wanted_in, wanted_out)
    return Planned(index, at_s, tokens_in, tokens_out, row.prefix_ids, clipped)
