"""What a connection may take its time for, checked once in a while for all connections instead of by a timer each."""

from __future__ import annotations

from orchestrator.frontend.http.server.bounds import Bounds
from orchestrator.frontend.http.server.connection import Connection
from orchestrator.frontend.http.server.error import ApiError


def sweep(connection: Connection, bounds: Bounds, now_s: float) -> None:
    """End what is overdue at `now_s` (time.monotonic): unread answers, slow requests, idle connections."""
    backlog_bytes = connection.backlog_bytes
    delivered_bytes = connection.written_bytes - backlog_bytes
    if not backlog_bytes or delivered_bytes != connection.delivered_bytes:
        connection.delivered_bytes, connection.delivered_s = delivered_bytes, now_s
    elif now_s - connection.delivered_s > bounds.stall_s:
        connection.abort(f"it has read nothing for {bounds.stall_s:g} s")
        return
    if connection.shut_s is not None:
        if now_s - connection.shut_s > bounds.linger_s and not backlog_bytes:
            connection.transport.abort()
        return
    reader = connection.reader
    if reader.in_head:
        if now_s - reader.since_s > bounds.header_timeout_s:
            message = f"The headers took longer than {bounds.header_timeout_s:g} s: send them at once."
            connection.refuse(ApiError(408, message, "request_timeout"))
    elif reader.pending is not None:
        allowed_s = bounds.body_timeout_s + reader.received_bytes / bounds.min_body_bytes_per_s
        if now_s - reader.since_s > allowed_s:
            message = f"The body came slower than {bounds.min_body_bytes_per_s} bytes/s: send it faster."
            connection.refuse(ApiError(408, message, "request_timeout"), reader.pending)
    elif not connection.active and now_s - connection.idle_since_s > bounds.keep_alive_s:
        connection.transport.close()
