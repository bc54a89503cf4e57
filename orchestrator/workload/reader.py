"""Reads trace files row by row: CSV or JSONL, plain or gzip."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from orchestrator.data import AZURE_CONV_SAMPLE
from orchestrator.workload import objects, recorded
from orchestrator.workload.columns import CsvRows, recognise
from orchestrator.workload.notes import Notes
from orchestrator.workload.opening import first_line, text_of
from orchestrator.workload.trace import SAMPLE, BadRow, TraceError, TraceRequest


def read_trace(path: str | Path, notes: Notes | None = None) -> Iterator[TraceRequest]:
    """The requests of a file, in file order; `sample` is the trace that ships with Tandem. Raises TraceError."""
    file = AZURE_CONV_SAMPLE if str(path) == SAMPLE else Path(path)
    with text_of(file) as text:
        first, number = first_line(text, file)
        if first.lstrip().startswith("["):
            raise TraceError("this is a JSON array", f"{file}:{number}", "write one JSON object per line")
        if recorded.is_record(first):
            yield from recorded.requests(file)
        elif first.lstrip().startswith("{"):
            yield from _jsonl(text, first, number, file)
        else:
            yield from _csv(text, first, number, file, notes or Notes())


def header_of(path: Path) -> list[str]:
    """The names in the first line of a CSV; nothing for JSONL. Raises TraceError."""
    with text_of(path) as text:
        first, number = first_line(text, path)
        return [] if first.lstrip().startswith(("{", "[")) else _header(first, f"{path}:{number}")


def _header(line: str, where: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line]))]
    except csv.Error as error:
        raise TraceError(f"bad CSV: {error}", where, "correct the header") from error


def _csv(text: TextIO, first: str, number: int, file: Path, notes: Notes) -> Iterator[TraceRequest]:
    header = _header(first, f"{file}:{number}")
    form = recognise(header)
    if isinstance(form, str):
        raise TraceError(f"columns {','.join(header)[:120]!r} are no trace of requests", f"{file}:{number}", form)
    make = CsvRows(form, header, notes).request
    rows = csv.reader(text)
    try:
        for row in rows:
            if row and (request := make(row)) is not None:
                yield request
    except BadRow as bad:
        raise bad.at(f"{file}:{rows.line_num + number}") from None
    except csv.Error as error:
        where = f"{file}:{rows.line_num + number}"
        raise TraceError(f"bad CSV: {error}", where, "correct or remove the line") from error


def _jsonl(text: TextIO, first: str, number: int, file: Path) -> Iterator[TraceRequest]:
    line = first
    try:
        yield objects.request(first)
        for line in text:
            number += 1
            if not line.isspace():
                yield objects.request(line)
    except BadRow as bad:
        raise bad.at(f"{file}:{number}") from None
