"""A record of decisions as a trace: the requests that a live cluster served, as they arrived there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from orchestrator.recording.entries import FORMAT
from orchestrator.recording.reader import RecordError, requests_of
from orchestrator.workload.trace import TraceError, TraceRequest


def is_record(first_line: str) -> bool:
    """Whether a file that begins with this line is a record."""
    if FORMAT not in first_line:
        return False
    try:
        header = json.loads(first_line)
    except ValueError:
        return False
    return isinstance(header, dict) and header.get("format") == FORMAT


def requests(file: Path) -> Iterator[TraceRequest]:
    """Requests that ended while the front door recorded, by arrival. Raises TraceError."""
    try:
        ended = sorted(requests_of(file), key=lambda request: request.arrival_s)
    except RecordError as error:
        raise TraceError(error.what, error.where, error.do) from error
    # Hashes of 64 bits become small numbers, as other traces have them.
    numbers: dict[int, int] = {}
    for request in ended:
        ids = tuple(numbers.setdefault(value, len(numbers)) for value in request.prefix_ids)
        yield TraceRequest(request.arrival_s, request.input_tokens, request.output_tokens, ids, request.tier)
