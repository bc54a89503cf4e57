"""The structure that chrome://tracing and Perfetto expect."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from orchestrator.report.chrome import chrome, natural
from orchestrator.report.timeline import FRONT_DOOR, Series, Span, Timeline
from tests.report.documents import timeline


def _of(document: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [e for e in document["traceEvents"] if e["ph"] == phase]


def test_structure() -> None:
    document = json.loads(json.dumps(chrome(timeline())))
    processes = {e["pid"]: e["args"]["name"] for e in _of(document, "M") if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in _of(document, "M") if e["name"] == "thread_name"}
    assert list(processes.values()) == ["decode-0", "decode-1", "decode-2"]
    work = [e for e in document["traceEvents"] if e["ph"] != "M"]
    assert all(e["pid"] in processes and (e["pid"], e["tid"]) in threads for e in work)
    assert all(a["ts"] <= b["ts"] for a, b in pairwise(work))
    spans = _of(document, "X")
    assert len(spans) == 60 and all(e["dur"] >= 0 for e in spans)
    assert {e["name"] for e in _of(document, "C")} == {"queue", "running", "kv"}
    assert spans[-1]["ts"] == 1.9e6 and spans[-1]["dur"] == 1e5 and spans[-1]["args"] == {"batch": 4}


def test_the_front_door_comes_first_and_has_one_counter() -> None:
    load = {**timeline(2).workers, FRONT_DOOR: {"queue": Series(np.array([0.0, 1.0]), np.array([0.0, 3.0]))}}
    document = chrome(Timeline(load))
    processes = [e["args"]["name"] for e in _of(document, "M") if e["name"] == "process_name"]
    assert processes == [FRONT_DOOR, "decode-0", "decode-1"]
    assert [e["args"] for e in _of(document, "C") if e["pid"] == 1] == [{"queue": 0.0}, {"queue": 3.0}]


def test_neighbours_share_a_lane_and_overlaps_do_not() -> None:
    spans = [Span("w", str(i), "request", start, 1.0) for i, start in enumerate((0.0, 0.5, 1.0, 1.5))]
    lanes = {e["name"]: e["tid"] for e in _of(chrome(Timeline({}, spans)), "X")}
    assert lanes == {"0": 1, "2": 1, "1": 2, "3": 2}


def test_the_order_of_spans_does_not_matter() -> None:
    given = timeline()
    shuffled = Timeline(dict(reversed(given.workers.items())), tuple(reversed(given.spans)))
    assert json.dumps(chrome(given)) == json.dumps(chrome(shuffled))


def test_names_sort_as_people_count() -> None:
    assert sorted(["d-10", "d-2", "c", "7"], key=natural) == ["7", "c", "d-2", "d-10"]
