"""Bounds of one HTTP server: how much and how slowly a client may send or read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a client may cost. Times are kept to within one `sweep_s`.

    A body has `body_timeout_s` plus one second for every `min_body_bytes_per_s` bytes of it that came. `max_buffered_bytes`
    bounds the unfinished bodies of all connections together. A client that does not read its answer is cut off when nothing
    left our buffer for `stall_s`, or when a stream's backlog exceeds `max_backlog_bytes`.
    """

    max_connections: int = 8192
    max_target_bytes: int = 8 << 10
    max_header_bytes: int = 32 << 10
    max_headers: int = 100
    max_body_bytes: int = 4 << 20
    max_buffered_bytes: int = 512 << 20
    max_pipelined: int = 32
    header_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    min_body_bytes_per_s: int = 4096
    keep_alive_s: float = 75.0
    backlog_bytes: int = 256 << 10
    max_backlog_bytes: int = 1 << 20
    stall_s: float = 30.0
    linger_s: float = 2.0
    sweep_s: float = 1.0
