"""The answer to one request, as it goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from orchestrator.frontend.http.server.response import Response, content_type, header_lines, status_line

if TYPE_CHECKING:
    from orchestrator.frontend.http.server.connection import Connection
    from orchestrator.frontend.http.server.request import Request

# Chunk sizes as they are written, so that a token's chunk formats no number. Source: RFC 9112 §7.1.
_SIZES = [b"%x\r\n" % size for size in range(4096)]
_LAST_CHUNK = b"0\r\n\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_CLOSE = b"Connection: close\r\n"


class ChunkFrame:
    """Chunks of one form, framed in one join. Its stream must be neither over nor gone."""

    __slots__ = ("_after", "_before", "_bytes", "_send")

    def __init__(self, connection: Connection, before: bytes, after: bytes) -> None:
        self._send = connection.send
        self._before, self._after = before, after + b"\r\n"
        self._bytes = len(before) + len(after)

    def write(self, data: bytes) -> None:
        """Send `before + data + after` as one chunk."""
        size = self._bytes + len(data)
        self._send(b"".join((_SIZES[size] if size < 4096 else b"%x\r\n" % size, self._before, data, self._after)))


class Stream:
    """Either `answer(response)`, or `start`, any number of `write` and `end`.

    Every call writes at most once, at once: nothing waits for a task. Once the client is gone, or the answer is over, all of
    them do nothing. Set `on_gone` to hear, once, that the client went away before the end; it is not called after `end`.
    It must not raise.
    """

    __slots__ = ("_chunked", "_connection", "_head", "_plain", "on_gone", "over", "request", "taken", "task")

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self.request = request
        self._head: bytes | None = None
        self._plain = False  # the head is out and chunks follow
        self._chunked = not request.http_1_0
        self.taken = False
        self.over = False
        self.task: asyncio.Task[None] | None = None
        self.on_gone: Callable[[], None] | None = None

    @property
    def started(self) -> bool:
        """The head is decided: a refusal can have no status of its own any more."""
        return self._plain or self._head is not None

    @property
    def backlog_bytes(self) -> int:
        """Bytes of this connection that wait for the client to read."""
        return self._connection.backlog_bytes

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Decide the head. It goes out with the first data."""
        if not self._chunked:
            self.request.keep_alive = False
        framing = b"Transfer-Encoding: chunked\r\n" if self._chunked else b""
        self._head = self._head_bytes(status, header_lines(headers) + framing)

    def write(self, data: bytes) -> None:
        """Send `data` as one chunk."""
        if self.over or not data:
            return
        if self._plain:
            size = len(data)
            data = b"".join((_SIZES[size] if size < 4096 else b"%x\r\n" % size, data, b"\r\n"))
        else:
            data = self._framed(data)
        self._connection.send(data)

    def frame(self, before: bytes, after: bytes) -> ChunkFrame | None:
        """For data that differs only between `before` and `after`; None where the head is not out yet, or the client takes no chunks."""
        return ChunkFrame(self._connection, before, after) if self._plain else None

    def end(self, data: bytes = b"") -> None:
        """Send `data`, if any, and end the answer, in one write."""
        if self.over:
            return
        last = self._framed(data)
        self._connection.send(last + _LAST_CHUNK if self._chunked else last)
        if not self.over:
            self._finish()

    def answer(self, response: Response) -> None:
        """Send a whole answer. After `start` it is too late for one: the connection is cut, so that nobody takes the part for the whole."""
        if self.over:
            return
        if self.started:
            self._connection.abort("its answer failed half way")
            return
        length = len(response.body)
        lines = b"%bContent-Length: %d\r\n%b" % (
            content_type(response.content_type),
            length,
            header_lines(response.headers),
        )
        head = self._head_bytes(response.status, lines)
        self._connection.send(head if self.request.method == "HEAD" else head + response.body)
        self._finish()

    def gone(self) -> None:
        """The client went away: tell whoever answers."""
        if self.over:
            return
        self.over = True
        if self.task is not None:
            self.task.cancel()
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()
        self.request.release()

    def _finish(self) -> None:
        self.over = True
        self.on_gone = None
        self.request.release()
        self._connection.done(self)

    def _framed(self, data: bytes) -> bytes:
        """`data` as a chunk, after the head if that is not out yet."""
        head, self._head = self._head, None
        self._plain = self._chunked
        if data and self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        return data if head is None else head + data

    def _head_bytes(self, status: int, lines: bytes) -> bytes:
        request = self.request
        if self._connection.closing:
            request.keep_alive = False
        connection = _CLOSE if not request.keep_alive else _KEEP_ALIVE if request.http_1_0 else b""
        identity = b"X-Request-Id: %b\r\n" % request.id.encode()
        return b"".join((status_line(status), lines, identity, self._connection.date, connection, b"\r\n"))
