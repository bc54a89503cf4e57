"""Listens, keeps count of connections, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
import time
from email.utils import formatdate

from orchestrator.frontend.http.server.app import App
from orchestrator.frontend.http.server.bounds import Bounds
from orchestrator.frontend.http.server.connection import Connection
from orchestrator.frontend.http.server.memory import Memory
from orchestrator.frontend.http.server.parting import HANDSHAKE_S, part
from orchestrator.frontend.http.server.sweep import sweep

GRACE_S = 5.0
NEWCOMER_S = 1.0
"""What a connection that never had an answer gets to send its request before it is closed."""
_BACKLOG = 1024
_LOOK_S = 0.02


class Server:
    """A running server, made by `start_http`."""

    def __init__(self, app: App, bounds: Bounds) -> None:
        self.app = app
        self.bounds = bounds
        self.memory = Memory(bounds.max_buffered_bytes)
        self.date = b""
        self.connections: set[Connection] = set()
        self._draining = False
        self._empty = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._parting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.sweep(time.monotonic())

    async def listen(self, host: str, port: int, reuse_port: bool, ssl: tls.SSLContext | None) -> int:
        """Accept connections; returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self), host, port, reuse_port=reuse_port or None, ssl=ssl, backlog=_BACKLOG
        )
        self._tick()
        return int(self._listener.sockets[0].getsockname()[1])

    def joined(self, connection: Connection) -> bool:
        """Count a connection; False if there are too many."""
        self.connections.add(connection)
        connection.closing = self._draining
        self._empty.clear()
        return len(self.connections) <= self.bounds.max_connections

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    def sweep(self, now_s: float) -> None:
        """End what is overdue on any connection at `now_s`; renew the date."""
        self.date = b"Date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in list(self.connections):
            sweep(connection, self.bounds, now_s)

    def drain(self) -> None:
        """From here on the next answer on a connection is its last, so that clients come again elsewhere. Goes on listening."""
        self._draining = True
        for connection in self.connections:
            connection.closing = True

    async def stop_listening(self, handshake_s: float = HANDSHAKE_S) -> None:
        """Accept what waits, then nothing more; connections that are open stay so."""
        if self._parting is None and self._listener is not None:
            self._parting = asyncio.create_task(part(self._listener, handshake_s))
        if self._parting is not None:
            await asyncio.shield(self._parting)  # whoever is cancelled meanwhile: those in the queue are not left

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Accept nothing more, let requests in progress end within `grace_s`, then hang up."""
        self.drain()
        await self.stop_listening(0.0)
        deadline_s = time.monotonic() + grace_s
        await self._hear_newcomers(min(deadline_s, time.monotonic() + NEWCOMER_S))
        for connection in list(self.connections):
            connection.retire()
        await self._wait_empty(max(0.0, deadline_s - time.monotonic()))
        for connection in list(self.connections):
            connection.abort("this front door is shutting down")
        await self._wait_empty(1.0)
        if self._timer is not None:
            self._timer.cancel()

    async def _hear_newcomers(self, deadline_s: float) -> None:
        """A connection that was accepted just now, or whose request is half read, gets an answer rather than a reset."""
        while any(map(_is_newcomer, self.connections)) and time.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)

    async def _wait_empty(self, timeout_s: float) -> None:
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)

    def _tick(self) -> None:
        self.sweep(time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(self.bounds.sweep_s, self._tick)


def _is_newcomer(connection: Connection) -> bool:
    reader = connection.reader
    heard_part = reader.in_head or reader.pending is not None
    return not connection.active and connection.shut_s is None and (heard_part or not connection.written_bytes)


async def start_http(
    app: App,
    host: str,
    port: int,
    *,
    reuse_port: bool = False,
    ssl: tls.SSLContext | None = None,
    bounds: Bounds | None = None,
) -> tuple[Server, int]:
    """Serve `app`; returns the server (`close` ends it) and the port, which is a free one where `port` is 0.

    Raises OSError if the address cannot be had. With `reuse_port` several processes share a port. With `ssl` it is HTTPS.
    """
    server = Server(app, bounds or app.bounds)
    return server, await server.listen(host, port, reuse_port, ssl)
