"""Takes the wanted part of a trace and paces it, row by row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from orchestrator.workload.notes import Notes
from orchestrator.workload.order import in_order
from orchestrator.workload.processes import poisson
from orchestrator.workload.shape import Shape, check
from orchestrator.workload.source import open_trace
from orchestrator.workload.synthetic import DEFAULT_RATE
from orchestrator.workload.tiers import with_tiers
from orchestrator.workload.trace import TraceError, TraceRequest
from orchestrator.workload.weights import parse_weights

DEFAULT_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class _Part:
    """The chosen rows with the trace's own times; `paced` where these have the wanted rate, `timed` where there are any."""

    rows: Iterator[TraceRequest]
    paced: bool
    timed: bool = True


Watch = Callable[[Iterator[TraceRequest]], Iterator[TraceRequest]]


def shaped(
    shape: Shape, notes: Notes | None = None, keep_missing: bool = False, measuring: Watch = iter
) -> Iterator[TraceRequest]:
    """The chosen requests in order of time, the first at 0; lengths as in the trace. Raises TraceError when it is first asked.

    Rows are read as they are taken. A finite `rate` needs to know the part's span: it is read twice then, the first time for its
    arrivals alone, through `measuring`, which may show how far that is. With `keep_missing`, requests of a trace without arrivals stay
    without unless a rate is given.
    """
    check(shape)
    part = _part(shape, notes, keep_missing)
    rows = _tiered(part.rows, shape)
    if not part.timed:
        yield from rows
        return
    if shape.rate is not None and math.isinf(shape.rate):
        yield from (_at(row, 0.0) for row in rows)
        return
    scale = _scale(shape, part.paced, measuring)
    base: float | None = None
    for row in rows:
        assert row.arrival_s is not None
        base = row.arrival_s if base is None else base
        yield row if base == 0 and scale == 1 else _at(row, (row.arrival_s - base) * scale)


def _at(row: TraceRequest, arrival_s: float) -> TraceRequest:
    return TraceRequest(arrival_s, row.input_tokens, row.output_tokens, row.prefix_ids, row.tier, row.client)


def _scale(shape: Shape, paced: bool, measuring: Watch) -> float:
    if shape.rate is None or paced:
        return 1 / (shape.speedup or 1.0)
    count, first, last = 0, 0.0, 0.0
    for row in measuring(_part(shape, None, False).rows):
        last = row.arrival_s or 0.0
        first = last if not count else first
        count += 1
    if count < 2:
        return 1.0
    if last == first:
        what = f"all {count:,} requests arrive at once, so no rate can stretch them"
        raise TraceError(what, shape.trace, "take more requests, or leave the rate out")
    return (count - 1) / shape.rate / (last - first)


def _part(shape: Shape, notes: Notes | None, keep_missing: bool) -> _Part:
    source = open_trace(shape.trace, shape.seed, shape.rate, shape.start_s, notes)
    head = next(source.rows, None)
    if head is None and source.drawn:
        raise _nothing_left(shape)
    if head is None:
        raise TraceError("the trace has no requests", shape.trace, "give a trace with at least one request")
    rows: Iterator[TraceRequest] = itertools.chain([head], source.rows)
    paced, origin = source.paced, 0.0
    if head.arrival_s is None:
        rows = _without_arrivals(rows, shape.trace)
        if keep_missing and shape.rate is None:
            _no_slice(shape, "the trace has no arrivals to slice by", "give a rate, or skip and requests")
            return _Part(_found(_counted(rows, shape, False), shape), paced=False, timed=False)
        rows, paced = _generated(rows, shape), True
    elif not source.drawn:
        rows = in_order(_with_arrivals(rows, shape.trace), shape.trace)
        head = next(rows)
        rows, origin = itertools.chain([head], rows), head.arrival_s or 0.0
    if paced and shape.rate is not None and math.isinf(shape.rate):
        _no_slice(shape, "at an infinite rate all requests come at once", "give requests instead of a slice")
    return _Part(_found(_counted(_sliced(rows, shape, origin), shape, source.drawn), shape), paced)


def _no_slice(shape: Shape, what: str, do: str) -> None:
    if shape.start_s > 0 or shape.duration_s is not None:
        raise TraceError(what, shape.trace, do)


def _sliced(rows: Iterator[TraceRequest], shape: Shape, origin: float) -> Iterator[TraceRequest]:
    begin = origin + shape.start_s
    end = math.inf if shape.duration_s is None else begin + shape.duration_s
    if shape.start_s > 0:
        rows = itertools.dropwhile(lambda row: (row.arrival_s or 0.0) < begin, rows)
    return rows if math.isinf(end) else itertools.takewhile(lambda row: (row.arrival_s or 0.0) < end, rows)


def _counted(rows: Iterator[TraceRequest], shape: Shape, endless: bool) -> Iterator[TraceRequest]:
    wanted = shape.requests
    if wanted is None and endless and shape.duration_s is None:
        wanted = DEFAULT_REQUESTS
    return itertools.islice(rows, shape.skip, None if wanted is None else shape.skip + wanted)


def _found(rows: Iterator[TraceRequest], shape: Shape) -> Iterator[TraceRequest]:
    head = next(rows, None)
    if head is None:
        raise _nothing_left(shape)
    return itertools.chain([head], rows)


def _nothing_left(shape: Shape) -> TraceError:
    remedy = "choose an earlier or longer part (start, duration, skip)"
    return TraceError("no request of the trace is in the chosen part", shape.trace, remedy)


def _generated(rows: Iterator[TraceRequest], shape: Shape) -> Iterator[TraceRequest]:
    rate = shape.rate or DEFAULT_RATE
    times = itertools.repeat(0.0) if math.isinf(rate) else poisson(np.random.default_rng([shape.seed, 2]), rate)
    return (_at(row, at) for row, at in zip(rows, times, strict=False))


def _with_arrivals(rows: Iterator[TraceRequest], trace: str) -> Iterator[TraceRequest]:
    for number, row in enumerate(rows, 1):
        if row.arrival_s is None:
            raise TraceError(f"request {number:,} has no arrival, others have", trace, "give all of them one, or none")
        yield row


def _without_arrivals(rows: Iterator[TraceRequest], trace: str) -> Iterator[TraceRequest]:
    for number, row in enumerate(rows, 1):
        if row.arrival_s is not None:
            raise TraceError(
                f"request {number:,} has an arrival, others have none", trace, "give all of them one, or none"
            )
        yield row


def _tiered(rows: Iterator[TraceRequest], shape: Shape) -> Iterator[TraceRequest]:
    if shape.tiers is None:
        return rows
    try:
        weights = parse_weights(shape.tiers)
    except ValueError as error:
        raise TraceError(
            f"bad tiers {shape.tiers!r}: {error}", shape.trace, "as in interactive:0.3,batch:0.7"
        ) from None
    return with_tiers(rows, weights, np.random.default_rng([shape.seed, 6]))
