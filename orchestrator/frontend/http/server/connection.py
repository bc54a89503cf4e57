"""One client's connection: requests one after another, answers in their order."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from orchestrator.frontend.http.server.error import ApiError
from orchestrator.frontend.http.server.headers import Headers
from orchestrator.frontend.http.server.reader import RequestReader
from orchestrator.frontend.http.server.request import Request
from orchestrator.frontend.http.server.run import run
from orchestrator.frontend.http.server.stream import Stream

if TYPE_CHECKING:
    from orchestrator.frontend.http.server.server import Server

_log = logging.getLogger(__name__)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MOST_DROPPED_BYTES = 16 << 20


class Connection(asyncio.Protocol):
    """`closing`: the answer that goes out, or the next one, is the last. `written_bytes` counts what was given to the transport."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._bounds = server.bounds
        self._queue: deque[Request] = deque()
        self._active: Stream | None = None
        self._starting = False
        self._choked = False
        self._lost = False
        self._deaf = False  # what still comes in is dropped
        self._linger = False
        self._dropped_bytes = 0
        self._paused = False
        self.shut_s: float | None = None
        self.closing = False
        self.written_bytes = 0
        self.idle_since_s = time.monotonic()
        self.delivered_bytes, self.delivered_s = 0, 0.0

    @property
    def date(self) -> bytes:
        """The Date header line."""
        return self._server.date

    @property
    def active(self) -> bool:
        """A request is being answered or waits for that."""
        return self._active is not None or bool(self._queue)

    @property
    def streams(self) -> bool:
        """An answer is going out piece by piece."""
        return self._active is not None and self._active.started

    @property
    def backlog_bytes(self) -> int:
        return 0 if self._lost else self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(self._bounds.backlog_bytes)  # type: ignore[attr-defined]
        name = transport.get_extra_info("peername")
        peer = str(name[0]) if isinstance(name, tuple) else ""
        channel = transport.get_extra_info("socket")
        if channel is not None and channel.family in (socket.AF_INET, socket.AF_INET6):
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = RequestReader(self, self._server.app, self._bounds, self._server.memory, peer)
        if not self._server.joined(self):
            self.refuse(ApiError(503, "Too many connections: try again.", "busy", headers={"Retry-After": "1"}))

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self.closing = True
        self._server.left(self)
        self._forget()
        active, self._active = self._active, None
        if active is not None:
            active.gone()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > _MOST_DROPPED_BYTES:
                self.transport.abort()
            return
        reader = self.reader
        try:
            reader.feed(data)
        except ApiError as error:
            self.refuse(error)
            return
        except Exception:
            _log.exception("reading from a client failed")
            self.transport.abort()
            return
        pending = reader.pending
        if pending is not None and pending.refusal is not None:
            self.refuse(pending.refusal, pending)  # no need to wait for the rest of its body
            return
        self._deaf = reader.full
        if self._active is None:
            self._start_next()
        elif len(self._queue) >= self._bounds.max_pipelined // 2 and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False

    def receive(self, request: Request) -> bool:
        """See Receiver."""
        self._queue.append(request)
        if len(self._queue) < self._bounds.max_pipelined:
            return True
        request.keep_alive = False
        return False

    def refuse(self, error: ApiError, request: Request | None = None) -> None:
        """Answer with `error` when what came before is answered; then close. The rest of what comes in is dropped."""
        pending = self.reader.drop()
        self._deaf = self._linger = True
        if pending is not None and pending is not request:
            pending.release()
        if request is None:
            request = Request("GET", "", "", Headers({}), "", time.perf_counter())
        request.refusal, request.keep_alive = error, False
        self._queue.append(request)
        if self._active is None:
            self._start_next()

    def send(self, data: bytes) -> None:
        """Give `data` to the transport; a stream whose client reads too slowly ends here."""
        self.written_bytes += len(data)
        self.transport.write(data)
        if self._choked and self.streams and self.backlog_bytes > self._bounds.max_backlog_bytes:
            self.abort("it reads too slowly")

    def done(self, stream: Stream) -> None:
        """`stream` is over: go on with the next request, or close."""
        self._active = None
        if self.closing or not stream.request.keep_alive:
            self.shut()
            return
        self.idle_since_s = time.monotonic()
        if not self._starting:
            self._start_next()

    def shut(self) -> None:
        """Close when everything has been sent. A client that still sends may read its answer first. Source: RFC 9112 §9.6."""
        self.closing = self._deaf = True
        self._forget()
        self.shut_s = time.monotonic()
        if not self._linger:
            self.transport.close()
        elif self.transport.can_write_eof():
            self.transport.write_eof()

    def retire(self) -> None:
        """Close now if no request is in progress, else after the one that is."""
        self.closing = True
        if not self.active:
            self.shut()

    def abort(self, why: str) -> None:
        """Hang up; the request in progress is cancelled."""
        _log.info("closing the connection of a client: %s", why)
        self.closing = self._deaf = True
        self.transport.abort()
        active, self._active = self._active, None
        if active is not None:
            active.gone()

    def _forget(self) -> None:
        """Let go of the requests that will not be answered."""
        pending = self.reader.drop()
        for request in (*self._queue, *(() if pending is None else (pending,))):
            request.release()
        self._queue.clear()

    def _start_next(self) -> None:
        """Start requests until one is not over at once."""
        self._starting = True
        while self._queue and self._active is None and self.shut_s is None:
            request = self._queue.popleft()
            self._active = request._stream = stream = Stream(self, request)
            run(self._server.app, request, stream)
        self._starting = False
        if self._active is None and self.shut_s is None:
            if self._paused:
                self._paused = False
                self.transport.resume_reading()
            if self.reader.expects_continue and self.reader.pending is not None:
                self.reader.expects_continue = False
                self.transport.write(_CONTINUE)
