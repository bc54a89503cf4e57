"""Writes requests in Tandem's own form, as JSONL or CSV, so that reading them back gives the same requests."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from orchestrator.workload.objects import KEYS
from orchestrator.workload.trace import TraceError, TraceRequest


class FileForm(StrEnum):
    """How a file holds requests."""

    JSONL = "jsonl"
    CSV = "csv"


def form_of(file: Path) -> FileForm:
    """CSV for `x.csv` and `x.csv.gz`, else JSONL."""
    return FileForm.CSV if file.name.removesuffix(".gz").endswith(".csv") else FileForm.JSONL


def write_trace(rows: Iterable[TraceRequest], file: Path, form: FileForm) -> int:
    """Write all `rows` and return their number; packed where the name ends in `.gz`.

    The file appears at once and whole: whatever fails before leaves what was there. Raises TraceError.
    """
    if file.exists() and not file.is_file():
        raise TraceError("cannot write the trace: this is no plain file", str(file), "write it elsewhere")
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as raw:
            # No time of writing and no name inside, so that equal requests give equal files.
            packed = gzip.GzipFile("", "wb", 6, raw, 0) if file.name.endswith(".gz") else raw
            with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
                count = _write(rows, text, form)
        part.replace(file)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _unwritable(file: Path, error: OSError) -> TraceError:
    return TraceError(f"cannot write the trace: {error.strerror or error}", str(file), "write it elsewhere")


def _write(rows: Iterable[TraceRequest], text: TextIO, form: FileForm) -> int:
    table = csv.writer(text, lineterminator="\n")
    if form is FileForm.CSV:
        table.writerow(KEYS)
    count = 0
    for row in rows:
        count += 1
        if form is FileForm.CSV:
            ids = " ".join(map(str, row.prefix_ids))
            table.writerow((row.arrival_s, row.input_tokens, row.output_tokens, row.tier, row.client, ids))
        else:
            text.write(json.dumps(_object(row), ensure_ascii=False) + "\n")
    return count


def _object(row: TraceRequest) -> dict[str, Any]:
    values = (row.arrival_s, row.input_tokens, row.output_tokens, row.tier, row.client, list(row.prefix_ids) or None)
    return {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
