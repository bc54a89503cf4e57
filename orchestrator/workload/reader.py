"""Reads trace files row by row: CSV or JSONL, plain or gzip."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from orchestrator.data import AZURE_CONV_SAMPLE
from orchestrator.workload.columns import CsvForm, recognise
from orchestrator.workload.trace import TraceError, TraceRequest

GZIP_MAGIC = b"\x1f\x8b"
SAMPLE = "sample"
MOST_TOKENS = 1 << 31


def read_trace(path: str | Path) -> Iterator[TraceRequest]:
    """The requests of a file, in file order; `sample` is the trace that ships with Tandem. Raises TraceError."""
    file = AZURE_CONV_SAMPLE if str(path) == SAMPLE else Path(path)
    try:
        with _open(file) as text:
            first = next((line for line in text if line.strip()), "")
            if not first:
                raise TraceError("the trace is empty", f"{file}:1", "give a file with at least one request")
            yield from _jsonl(text, first, file) if first.lstrip().startswith("{") else _csv(text, first, file)
    except FileNotFoundError:
        raise TraceError(
            "no such trace", str(file), "give a CSV or JSONL file, `sample` or synthetic:poisson"
        ) from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TraceError(
            f"cannot read the trace: {error}", str(file), "check that it is a whole text or gzip file"
        ) from error


def _open(file: Path) -> TextIO:
    raw = file.open("rb")
    magic = raw.read(2)
    raw.seek(0)
    return io.TextIOWrapper(
        gzip.GzipFile(fileobj=raw) if magic == GZIP_MAGIC else raw, encoding="utf-8-sig", newline=""
    )


def _csv(text: TextIO, first: str, file: Path) -> Iterator[TraceRequest]:
    header = [name.strip() for name in next(csv.reader([first]))]
    form = recognise(header)
    if isinstance(form, str):
        raise TraceError(f"columns {','.join(header)[:120]} are no trace of requests", f"{file}:1", form)
    places = [header.index(column) for column in form.needed]
    rows = csv.reader(text)
    try:
        for row in rows:
            if row:
                yield _row(row, places, form, f"{file}:{rows.line_num + 1}")
    except csv.Error as error:
        raise TraceError(f"bad CSV: {error}", f"{file}:{rows.line_num + 1}", "correct or remove the line") from error


def _row(row: list[str], places: list[int], form: CsvForm, where: str) -> TraceRequest:
    if len(row) <= max(places):
        raise TraceError(f"the line has {len(row)} of {max(places) + 1} columns", where, "complete or remove the line")
    cells = [row[i] for i in places]
    arrival = _seconds(cells[0], form, where) if form.arrival else None
    return TraceRequest(
        arrival, _tokens(cells[-2], form.input_tokens, where), _tokens(cells[-1], form.output_tokens, where)
    )


def _seconds(cell: str, form: CsvForm, where: str) -> float:
    try:
        value = form.seconds(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TraceError(f"{form.arrival} {cell!r} is not a time", where, "correct or remove the line")
    return value


def _tokens(cell: Any, name: str, where: str) -> int:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not value.is_integer() or not 0 <= value < MOST_TOKENS or isinstance(cell, bool):
        remedy = "correct or remove the line"
        raise TraceError(f"{name} {cell!r} is not a number of tokens (0 or more)", where, remedy)
    return int(value)


def _jsonl(text: TextIO, first: str, file: Path) -> Iterator[TraceRequest]:
    for number, line in enumerate([first], 1):
        yield _mooncake(line, f"{file}:{number}")
    for number, line in enumerate(text, 2):
        if line.strip():
            yield _mooncake(line, f"{file}:{number}")


def _mooncake(line: str, where: str) -> TraceRequest:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise TraceError(f"not JSON: {error}", where, "write one JSON object per line") from error
    if not isinstance(row, dict) or not {"input_length", "output_length"} <= row.keys():
        seen = ", ".join(list(row)[:8]) if isinstance(row, dict) else type(row).__name__
        remedy = "give timestamp (ms), input_length and output_length, as Mooncake traces do"
        raise TraceError(f"no input_length and output_length in the line (has: {seen})", where, remedy)
    stamp, ids = row.get("timestamp"), row.get("hash_ids") or []
    if stamp is not None and (
        isinstance(stamp, bool) or not isinstance(stamp, (int, float)) or not math.isfinite(stamp)
    ):
        raise TraceError(f"timestamp {stamp!r} is not a number of milliseconds", where, "correct or remove the line")
    if not isinstance(ids, list) or any(not isinstance(i, int) for i in ids):
        raise TraceError("hash_ids is not a list of integers", where, "correct it or leave it out")
    return TraceRequest(
        None if stamp is None else stamp / 1000,
        _tokens(row["input_length"], "input_length", where),
        _tokens(row["output_length"], "output_length", where),
        tuple(ids),
    )
