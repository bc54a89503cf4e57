"""Logs of every process in one form: lines of text, or one JSON object per line."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import orjson

from orchestrator.core.config import LogFormat, LogLevel

FIELDS = ("request_id", "attempt", "worker", "trace_id")
"""What a line about a request may say of it, by `extra`; see `about`."""
_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def about(request: Any, worker: str = "") -> dict[str, Any]:
    """`extra` of a line about a request: its id, attempt, trace, and a worker. `request` is a RequestRecord."""
    found = {"request_id": request.request_id, "attempt": request.attempt}
    if worker:
        found["worker"] = worker
    if request.trace is not None:
        found["trace_id"] = f"{request.trace.trace_id:032x}"
    return found


class JsonLines(logging.Formatter):
    """`time` (RFC 3339, UTC, microseconds), `level`, `logger`, `message`, `process`, what `extra` said, and `exception`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.created % 1 * 1e6):06d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": self._process,
        }
        given = record.__dict__
        line.update((name, given[name]) for name in FIELDS if name in given)
        fields = given.get("fields")
        if isinstance(fields, Mapping):
            line.update(fields)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextLines(logging.Formatter):
    """The usual line, and what `extra` said behind it, where the message does not say it already."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        given = record.__dict__
        tail = [f"{name}={given[name]}" for name in FIELDS if name in given and str(given[name]) not in record.message]
        fields = given.get("fields")
        if isinstance(fields, Mapping):
            tail += [f"{name}={value}" for name, value in fields.items()]
        return " ".join((line, *tail))


def formatter(form: str, process: str) -> logging.Formatter:
    """What makes the lines of a process."""
    return JsonLines(process) if LogFormat(form) is LogFormat.JSON else TextLines()


def configure(form: str, level: str, process: str, stream: TextIO | None = None) -> None:
    """Send this process's log to `stream` (stderr), replacing handlers set before. `process` is its name in JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(form, process))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LogLevel(level).upper())
