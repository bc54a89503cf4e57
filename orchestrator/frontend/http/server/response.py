"""A whole answer, and the bytes of an answer's head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import orjson

JSON = "application/json; charset=utf-8"
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()}
_TYPES = {JSON: f"Content-Type: {JSON}\r\n".encode()}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with its body. `headers` come on top of content type, length, date and request id."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """`value` as JSON."""
        return cls(orjson.dumps(value), status, headers=headers or {})


def status_line(status: int) -> bytes:
    return _LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n".encode()


def content_type(value: str) -> bytes:
    return _TYPES.get(value) or header_lines({"Content-Type": value})


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Header lines; raises ValueError for a line break in a name or a value."""
    if not headers:
        return b""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1", "replace")
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError(f"a line break in headers {dict(headers)!r}")
    return lines
