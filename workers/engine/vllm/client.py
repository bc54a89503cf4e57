"""A small HTTP/1.1 client on the event loop: kept connections, answers as they come, and an abort that is a hang-up.

A streamed token costs one callback here; a client of coroutines takes several times that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol, cast

import httptools

from workers.engine.vllm.address import Address

IDLE_S = 4.0
"""A connection idle for longer is not used again: servers close theirs after 5 s."""
DIAL_S = 5.0
MOST_BYTES = 256 << 20
"""No answer may be longer."""


class HttpError(Exception):
    """The server cannot be reached, hung up, or said something that is no HTTP."""


class Listener(Protocol):
    """Hears an answer, in this order; `done` once, and nothing after it."""

    def head(self, status: int) -> None: ...
    def data(self, chunk: bytes) -> None: ...
    def done(self, error: HttpError | None) -> None: ...


class Call:
    """A request under way."""

    def __init__(self, request: bytes, listener: Listener) -> None:
        self.request = request
        self.listener: Listener | None = listener
        self.connection: _Connection | None = None

    def abort(self) -> None:
        """Hang up, by which a server knows that nobody waits; the listener hears nothing more."""
        self.listener = None
        if self.connection is not None:
            self.connection.close()


class HttpClient:
    """Calls to one server."""

    def __init__(self, address: Address, headers: Mapping[str, str] | None = None) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Connection] = []
        self._dials: set[asyncio.Task[None]] = set()
        fields = {"Host": address.authority, "Accept": "*/*", **(headers or {})}
        self._fields = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    def post(self, path: str, body: bytes, listener: Listener, headers: Mapping[str, str] | None = None) -> Call:
        """Send JSON."""
        return self._start(self._posted(path, body, headers or {}), listener)

    async def get(self, path: str, timeout_s: float) -> tuple[int, bytes]:
        """Status and body; raises HttpError."""
        return await self._collect(
            f"GET {self._address.prefix}{path} HTTP/1.1\r\n{self._fields}\r\n".encode(), timeout_s
        )

    async def ask(self, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """POST JSON; status and body; raises HttpError."""
        return await self._collect(self._posted(path, body, {}), timeout_s)

    def close(self) -> None:
        for task in self._dials:
            task.cancel()
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _posted(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {self._address.prefix}{path} HTTP/1.1\r\n{self._fields}{more}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode("latin-1") + body

    async def _collect(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        collector = _Collector(self._loop.create_future())
        call = self._start(request, collector)
        try:
            async with asyncio.timeout(timeout_s):
                return await collector.answer
        except TimeoutError:
            raise HttpError(f"no answer from {self._address} within {timeout_s:g} s") from None
        finally:
            if not collector.answer.done() or collector.answer.cancelled():
                call.abort()

    def _start(self, request: bytes, listener: Listener) -> Call:
        call = Call(request, listener)
        now_s = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(now_s):
                connection.begin(call)
                return call
            connection.close()
        self._dial(call)
        return call

    def _dial(self, call: Call) -> None:
        task = self._loop.create_task(self._connect(call))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _connect(self, call: Call) -> None:
        try:
            async with asyncio.timeout(DIAL_S):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self), self._address.host, self._address.port
                )
        except (OSError, TimeoutError) as error:
            if call.listener is not None:
                call.listener.done(HttpError(f"cannot reach {self._address}: {str(error) or 'no answer'}"))
            return
        if call.listener is None:  # aborted meanwhile
            connection.close()
        else:
            connection.begin(call)

    def rest(self, connection: _Connection) -> None:
        """An answer is complete: another request may follow."""
        self._idle.append(connection)

    def again(self, call: Call) -> None:
        """A kept connection turned out to be closed before anything came: once more on a new one."""
        if call.listener is not None:
            self._dial(call)


class _Connection(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._call: Call | None = None
        self._parser: httptools.HttpResponseParser
        self._used = False
        self._begun = False
        self._bytes = 0
        self._idle_since_s = 0.0

    def usable(self, now_s: float) -> bool:
        return not self._transport.is_closing() and now_s - self._idle_since_s < IDLE_S

    def begin(self, call: Call) -> None:
        self._call, call.connection = call, self
        self._parser = httptools.HttpResponseParser(self)
        self._begun, self._bytes = False, 0
        self._transport.write(call.request)

    def close(self) -> None:
        self._call = None
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._call is None:
            self._transport.abort()  # nobody asked
            return
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(HttpError(f"no HTTP: {error}"))
            return
        if self._bytes > MOST_BYTES:
            self._end(HttpError(f"an answer of more than {MOST_BYTES >> 20} MiB"))

    def connection_lost(self, error: Exception | None) -> None:
        call = self._call
        if call is None:
            return
        if self._used and not self._begun:
            self._call = None
            self._client.again(call)
        else:
            self._end(HttpError(f"the server hung up{f': {error}' if error else ''}"))

    def on_headers_complete(self) -> None:
        self._begun = True
        if self._call is not None and self._call.listener is not None:
            self._call.listener.head(self._parser.get_status_code())

    def on_body(self, body: bytes) -> None:
        if self._call is not None and self._call.listener is not None:
            self._call.listener.data(body)

    def on_message_complete(self) -> None:
        if self._call is None:
            self._transport.abort()  # aborted, or an answer that nobody asked for
            return
        keep = self._parser.should_keep_alive()
        call, self._call = self._call, None
        if keep:
            self._used, self._idle_since_s = True, time.monotonic()
            self._client.rest(self)
        else:
            self._transport.close()
        call.connection = None
        if call.listener is not None:
            listener, call.listener = call.listener, None
            listener.done(None)

    def _end(self, error: HttpError) -> None:
        call, self._call = self._call, None
        self._transport.abort()
        if call is not None and call.listener is not None:
            listener, call.listener = call.listener, None
            listener.done(error)


class _Collector:
    """Gathers a short answer."""

    def __init__(self, answer: asyncio.Future[tuple[int, bytes]]) -> None:
        self.answer = answer
        self._status = 0
        self._parts: list[bytes] = []

    def head(self, status: int) -> None:
        self._status = status

    def data(self, chunk: bytes) -> None:
        self._parts.append(chunk)

    def done(self, error: HttpError | None) -> None:
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result((self._status, b"".join(self._parts)))
