"""A server with small bounds on the event loop of production, and a client that sends raw bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import uvloop

from orchestrator.frontend.http.server import ApiError, App, Bounds, Request, Response, Server, Stream, start_http

BOUNDS = Bounds(
    max_connections=4, max_target_bytes=256, max_header_bytes=1024, max_headers=20, max_body_bytes=1000,
    max_buffered_bytes=1800, max_pipelined=8, backlog_bytes=65536, max_backlog_bytes=131072,
)  # fmt: skip


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """See pytest_asyncio."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Seen:
    """What handlers saw and did."""

    requests: list[Request] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def app(seen: Seen) -> App:
    app = App(BOUNDS)

    def echo(request: Request) -> Response:
        seen.requests.append(request)
        return Response(request.body, content_type="application/octet-stream")

    def stream(request: Request) -> None:
        seen.requests.append(request)
        out = request.stream()
        out.start(200, {"Content-Type": "text/plain"})
        out.on_gone = lambda: seen.gone.append(request.id)
        seen.streams.append(out)

    async def wait(request: Request) -> Response:
        seen.requests.append(request)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.cancelled.append(request.id)
            raise
        raise AssertionError("nobody sets the event")

    async def broken(request: Request) -> Response:
        raise RuntimeError("a fault of ours")

    async def late(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response.json({"path": request.path, "query": request.query, "rest": dict(request.parameters)})

    app.post("/echo", echo)
    app.get("/echo", echo)
    app.post("/stream", stream)
    app.post("/wait", wait)
    app.get("/broken", broken)
    app.get("/late", late)
    app.get("/things/{name}", late)
    app.on_refusal = lambda request, error: seen.refused.append(error.code)

    def guard(request: Request) -> None:
        if "X-Bad" in request.headers:
            raise ApiError(401, "send another header", "denied")

    app.guard = guard
    return app


@pytest.fixture
async def served(app: App) -> AsyncIterator[tuple[Server, int]]:
    server, port = await start_http(app, "127.0.0.1", 0)
    yield server, port
    await server.close(0)
    assert not server.connections and server.memory.used_bytes == 0


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers with names in lower case, and body of the next answer."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            status = int(head[0].split()[1])
            headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head[1:] if h)}
            length = int(headers.get("content-length", 0))
            return status, headers, await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Everything until the server hangs up."""
        async with asyncio.timeout(5):
            return await self.reader.read()


Connect = Callable[[], "asyncio.Future[Client]"]


@pytest.fixture
async def connect(served: tuple[Server, int]) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def open_() -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", served[1]))
        clients.append(client)
        return client

    yield open_  # type: ignore[misc]
    for client in clients:
        client.writer.transport.abort()


def post(path: str, body: bytes = b"", *headers: str, version: str = "1.1") -> bytes:
    """A well-formed POST."""
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
