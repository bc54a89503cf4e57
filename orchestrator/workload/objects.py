"""JSONL traces, recognised by the keys of their objects: Mooncake's, and Tandem's own.

Tandem's own form, which `pdctl trace convert` writes, has one object per line:
`{"arrival_s": 0.25, "input_tokens": 512, "output_tokens": 64, "tier": "interactive", "client": "c1", "prefix_ids": [3, 4]}`.
Only the two lengths must be there. Source of the other: Mooncake (FAST'25), trace release.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.workload import cells
from orchestrator.workload.trace import BadRow, TraceRequest

KEYS = ("arrival_s", "input_tokens", "output_tokens", "tier", "client", "prefix_ids")
REMEDY = (
    "give input_tokens and output_tokens (and arrival_s), or timestamp (ms), input_length and output_length, "
    "as Mooncake traces do"
)


def request(line: str) -> TraceRequest:
    """The request of one line. Raises BadRow."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not JSON: {error}", "write one JSON object per line") from error
    if isinstance(row, dict):
        if "input_length" in row and "output_length" in row:
            return _mooncake(row)
        if "input_tokens" in row and "output_tokens" in row:
            return _own(row)
    seen = ", ".join(list(row)[:8])[:120] if isinstance(row, dict) else type(row).__name__
    raise BadRow(f"no input_length and output_length, nor input_tokens and output_tokens (has: {seen})", REMEDY)


def _mooncake(row: dict[str, Any]) -> TraceRequest:
    stamp = row.get("timestamp")
    return TraceRequest(
        None if stamp is None else cells.number(stamp, "timestamp", "milliseconds") / 1000,
        cells.tokens(row["input_length"], "input_length"),
        cells.tokens(row["output_length"], "output_length"),
        cells.ids(row.get("hash_ids"), "hash_ids"),
    )


def _own(row: dict[str, Any]) -> TraceRequest:
    if unknown := row.keys() - set(KEYS):
        # A misspelt arrival_s would otherwise silently become generated arrivals.
        raise BadRow(f"unknown key {min(unknown)!r}", f"use {', '.join(KEYS)}")
    arrival = row.get("arrival_s")
    return TraceRequest(
        None if arrival is None else cells.number(arrival, "arrival_s", "seconds"),
        cells.tokens(row["input_tokens"], "input_tokens"),
        cells.tokens(row["output_tokens"], "output_tokens"),
        cells.ids(row.get("prefix_ids"), "prefix_ids"),
        cells.word(row.get("tier"), "tier"),
        cells.word(row.get("client"), "client"),
    )
