"""What is wrong with a trace is said in one line: what, where, what to do."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from orchestrator.workload.order import in_order
from orchestrator.workload.reader import read_trace
from orchestrator.workload.schedule import Shape, arrivals, plan
from orchestrator.workload.trace import TraceError, TraceRequest

HEADER = "arrival_s,input_tokens,output_tokens\n"


def _error(trace: str | Path) -> str:
    with pytest.raises(TraceError) as caught:
        plan(Shape(str(trace)))
    text = str(caught.value)
    assert "\n" not in text and text.count(";") >= 2 and len(text) < 400
    return text


def test_directory(tmp_path: Path) -> None:
    assert "directory" in (text := _error(tmp_path)) and "give one of its files" in text


def test_absent(tmp_path: Path) -> None:
    assert "no such trace" in (text := _error(tmp_path / "x.csv")) and "synthetic:NAME" in text


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01\x00\x00", b"\xff\xfe\x00\x01" * 50, b"a,b\0c\n", b"x" * (1 << 20)]
)
def test_binary(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    assert "is no text" in (text := _error(tmp_path / "t")) and "check that it is a whole text or gzip file" in text


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"")])
def test_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    assert "the trace is empty" in _error(tmp_path / "t")


def test_header_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEADER)
    assert "has no requests" in _error(tmp_path / "t.csv")


@pytest.mark.parametrize("cut", [9, 40, -9])
def test_cut_gzip(tmp_path: Path, cut: int) -> None:
    rows = "".join(f"{i},{i % 97},{i % 89}\n" for i in range(2000))
    (tmp_path / "t.gz").write_bytes(gzip.compress((HEADER + rows).encode())[:cut])
    assert "cut off or damaged" in _error(tmp_path / "t.gz")


def test_changed_gzip(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress((HEADER + "0,1,2\n" * 50).encode()))
    packed[-6] ^= 255
    (tmp_path / "t.gz").write_bytes(packed)
    assert "cut off or damaged" in _error(tmp_path / "t.gz")


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(HEADER)
    assert "Not a directory" in (text := _error(tmp_path / "t" / "x")) and "check its permissions" in text


def test_json_array(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"input_tokens": 1, "output_tokens": 1}]')
    assert "one JSON object per line" in _error(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        ({"input_tokens": 1}, "give input_tokens and output_tokens"),
        ({"input_tokens": 1, "output_tokens": 2, "arival_s": 3}, "'arival_s'; "),
        ({"input_tokens": -1, "output_tokens": 2}, "0 or more"),
        ({"input_tokens": True, "output_tokens": 2}, "0 or more"),
        ({"input_tokens": 1, "output_tokens": 2.5}, "0 or more"),
        ({"input_tokens": 1, "output_tokens": None}, "0 or more"),
        ({"input_tokens": 1, "output_tokens": 1 << 40}, "0 or more"),
        ({"input_tokens": 1, "output_tokens": 2, "arrival_s": "0"}, "number of seconds"),
        ({"input_tokens": 1, "output_tokens": 2, "arrival_s": float("nan")}, "number of seconds"),
        ({"input_tokens": 1, "output_tokens": 2, "tier": 7}, "write it in quotes"),
        ({"input_tokens": 1, "output_tokens": 2, "prefix_ids": [1, True]}, "list of integers"),
    ],
)
def test_own_rows(tmp_path: Path, row: dict[str, object], remedy: str) -> None:
    good = {"arrival_s": 0, "input_tokens": 1, "output_tokens": 1}
    file = tmp_path / "t.jsonl"
    # Whatever is wrong, the line is named: blank lines above it count.
    file.write_text("\n".join(["", json.dumps(good), "", json.dumps(row)]))
    text = _error(file)
    assert f"{file}:4;" in text
    assert remedy in text or f"unknown key {remedy}" in text


def test_bad_prefix_cell(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("arrival_s,input_tokens,output_tokens,prefix_ids\n0,5,5,1 2\n1,5,5,1;2\n")
    assert ":3; " in (text := _error(tmp_path / "t.csv")) and "apart by spaces" in text


@pytest.mark.parametrize("first", ["", "0"])
def test_some_arrivals(tmp_path: Path, first: str) -> None:
    (tmp_path / "t.csv").write_text(f"{HEADER}{first},5,5\n{'' if first else '1'},5,5\n")
    assert "request 2 has" in (text := _error(tmp_path / "t.csv")) and "give all of them one, or none" in text


def test_order_is_restored_within_the_window() -> None:
    times = [3.0, 1.0, 2.0, 2.0, 0.5, 9.0, 4.0]
    rows = [TraceRequest(at, i, 1) for i, at in enumerate(times)]
    assert list(in_order(rows, "t", window=4)) == sorted(rows, key=lambda row: row.arrival_s or 0.0)
    with pytest.raises(TraceError, match=r"more than 2 rows above it; t; sort the file by arrival"):
        list(in_order(rows, "t", window=2))


def test_reversed_file_is_sorted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "".join(f"{i},{i + 1},1\n" for i in reversed(range(3000))))
    assert [p.input_tokens for p in arrivals(Shape(str(tmp_path / "t.csv")))] == list(range(1, 3001))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rate": 0.0}, "rate 0 is not above 0"),
        ({"rate": -1.0}, "rate -1 is not above 0"),
        ({"rate": float("nan")}, "rate nan is not above 0"),
        ({"speedup": 0.0}, "speedup 0"),
        ({"speedup": float("inf")}, "speedup inf"),
        ({"rate": 1.0, "speedup": 2.0}, "give one of them"),
        ({"requests": 0}, "requests 0 is below 1"),
        ({"max_input_tokens": 0}, "max_input_tokens 0"),
        ({"start_s": -1.0}, "start_s -1"),
        ({"start_s": float("nan")}, "start_s nan"),
        ({"duration_s": 0.0}, "duration_s 0"),
        ({"duration_s": float("inf")}, "duration_s inf"),
        ({"skip": -1}, "skip -1"),
        ({"seed": -1}, "seed -1"),
        ({"start_s": 1e6}, "in the chosen part"),
        ({"skip": 1000}, "in the chosen part"),
        ({"tiers": "a:-1"}, "weight above 0"),
        ({"tiers": ""}, "weight above 0"),
        ({"tiers": "a:1,a:2"}, "appears twice"),
    ],
)
def test_shapes_without_sense(change: dict[str, float], what: str) -> None:
    with pytest.raises(TraceError) as caught:
        plan(Shape("sample", **change))  # type: ignore[arg-type]
    assert what in str(caught.value) and str(caught.value).count(";") >= 2


@pytest.mark.parametrize("slice_of", [{"start_s": 1.0}, {"duration_s": 1.0}])
def test_no_slice_of_what_comes_at_once(slice_of: dict[str, float]) -> None:
    with pytest.raises(TraceError, match="at an infinite rate"):
        plan(Shape("synthetic:poisson", rate=float("inf"), **slice_of))  # type: ignore[arg-type]


def test_no_rate_for_what_comes_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "5,1,1\n5,1,1\n")
    with pytest.raises(TraceError, match="all 2 requests arrive at once"):
        plan(Shape(str(tmp_path / "t.csv"), rate=1.0))


def test_a_reader_that_stops_early_closes_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "0,1,1\n" * 100)
    before = len(os.listdir("/proc/self/fd"))
    rows = read_trace(tmp_path / "t.csv")
    next(rows)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    rows.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before
