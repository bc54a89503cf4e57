"""A timeline as a trace for chrome://tracing and Perfetto.

Source: "Trace Event Format", Google, for the phases X (complete), C (counter) and M (metadata). Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.report.timeline import FRONT_DOOR, Span, Timeline

Event = dict[str, Any]
# Counters are read per process, so every worker is a process; overlapping spans of one go to threads of their own.
COUNTERS = ("queue", "running", "kv", "clock_mhz")


def chrome(timeline: Timeline) -> dict[str, Any]:
    """The trace as a JSON document.

    The front door and the workers, in order of name, are processes, each kind of span a thread or more of them.
    """
    names = sorted(
        {*timeline.workers, *(s.worker for s in timeline.spans)}, key=lambda n: (n != FRONT_DOOR, natural(n))
    )
    metadata: list[Event] = []
    events: list[Event] = []
    by_worker: dict[str, list[Span]] = {name: [] for name in names}
    for span in timeline.spans:
        by_worker[span.worker].append(span)
    for pid, name in enumerate(names, 1):
        metadata.append(_named("process_name", name, pid))
        metadata.append({**_named("process_sort_index", "", pid), "args": {"sort_index": pid}})
        metadata.append(_named("thread_name", "counters", pid))
        for tid, (lane, spans) in enumerate(_lanes(by_worker[name]), 1):
            metadata.append(_named("thread_name", lane, pid, tid))
            events += [_complete(span, pid, tid) for span in spans]
        events += _counters(timeline, name, pid)
    events.sort(key=lambda e: (e["ts"], e["pid"], e["tid"], -e.get("dur", 0.0), e["name"]))
    return {"displayTimeUnit": "ms", "traceEvents": metadata + events}


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts `decode-2` before `decode-10`."""
    import re

    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))


def _lanes(spans: Sequence[Span]) -> Iterator[tuple[str, list[Span]]]:
    """Spans by category, those that overlap in lanes of their own; Perfetto would otherwise draw them as nested calls."""
    for category in sorted({s.category for s in spans}):
        lanes: list[list[Span]] = []
        ends: list[float] = []
        for span in sorted(
            (s for s in spans if s.category == category), key=lambda s: (s.start_s, -s.duration_s, s.name)
        ):
            # Compared in the trace's own unit: rounding must not make neighbours overlap.
            start_us = _us(span.start_s)
            lane = next((i for i, end in enumerate(ends) if end <= start_us), len(lanes))
            if lane == len(lanes):
                lanes.append([])
                ends.append(0.0)
            lanes[lane].append(span)
            ends[lane] = start_us + _us(span.duration_s)
        for index, lane_spans in enumerate(lanes):
            yield (category if index == 0 else f"{category} {index + 1}"), lane_spans


def _complete(span: Span, pid: int, tid: int) -> Event:
    return {
        "ph": "X",
        "name": span.name,
        "cat": span.category,
        "pid": pid,
        "tid": tid,
        "ts": _us(span.start_s),
        "dur": max(0.0, _us(span.duration_s)),
        "args": dict(span.arguments),
    }


def _counters(timeline: Timeline, name: str, pid: int) -> Iterator[Event]:
    for counter in COUNTERS:
        series = timeline.workers.get(name, {}).get(counter)
        if series is None:
            continue
        for time_s, value in zip(series.time_s.tolist(), series.value.tolist(), strict=True):
            yield {"ph": "C", "name": counter, "pid": pid, "tid": 0, "ts": _us(time_s), "args": {counter: value}}


def _named(kind: str, name: str, pid: int, tid: int = 0) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": {"name": name}}


def _us(seconds: float) -> float:
    # Nanoseconds are enough, and keep the file small.
    return round(seconds * 1e6, 3)
