"""The HTTP client against raw sockets: kept connections, answers in pieces, hang-ups of either side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from workers.engine.vllm import client as module
from workers.engine.vllm.address import Address
from workers.engine.vllm.client import HttpClient, HttpError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
    b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"
)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Reads requests and does with each what the next of `script` says; `gone` counts connections that clients ended."""

    def __init__(self) -> None:
        self.script: deque[Answer] = deque()
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = 0
        self.changed = asyncio.Event()
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.split(b"\r\n") if x.startswith(b"Content-Length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                self.changed.set()
                await self.script.popleft()(reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone += 1
            self.changed.set()
        finally:
            writer.transport.abort()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


def say(*parts: bytes, close: bool = False) -> Answer:
    """Write `parts`, each by itself."""

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            writer.close()
            raise ConnectionError

    return write


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait for the client's end."""
    await reader.readexactly(1)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.status = 0
        self.chunks: list[bytes] = []
        self.ends: list[HttpError | None] = []
        self.over = asyncio.Event()

    def head(self, status: int) -> None:
        assert not self.status, "one head"
        self.status = status

    def data(self, chunk: bytes) -> None:
        assert self.status and not self.ends, "between head and end"
        self.chunks.append(chunk)

    def done(self, error: HttpError | None) -> None:
        self.ends.append(error)
        self.over.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


@asynccontextmanager
async def raw_server() -> AsyncIterator[RawServer]:
    raw = RawServer()
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield raw
    server.close()
    for writer in raw.writers:
        writer.transport.abort()


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    async with raw_server() as server:
        yield server


@pytest.fixture
async def client(raw: RawServer) -> AsyncIterator[HttpClient]:
    one = HttpClient(Address.parse(raw.url + "/prefix/"))
    yield one
    one.close()


async def heard(client: HttpClient, body: bytes = b"{}") -> Heard:
    listener = Heard()
    client.post("/p", body, listener)
    await asyncio.wait_for(listener.over.wait(), 10)
    return listener


async def test_what_is_sent(raw: RawServer, client: HttpClient) -> None:
    raw.script.extend([say(OK)] * 3)
    listener = Heard()
    client.post("/v1/completions", b'{"a": "\xc3\xa9"}', listener, {"X-Request-Id": "a-0-pull"})
    await asyncio.wait_for(listener.over.wait(), 10)
    assert await client.get("/health", 5) == (200, b"hello")
    assert await client.ask("/x", b"[]", 5) == (200, b"hello")
    host = raw.url.removeprefix("http://").encode()
    assert raw.requests[0] == (
        b"POST /prefix/v1/completions HTTP/1.1\r\nHost: " + host + b"\r\nAccept: */*\r\nX-Request-Id: a-0-pull\r\n"
        b'Content-Type: application/json\r\nContent-Length: 11\r\n\r\n{"a": "\xc3\xa9"}'
    )
    assert raw.requests[1] == b"GET /prefix/health HTTP/1.1\r\nHost: " + host + b"\r\nAccept: */*\r\n\r\n"
    assert raw.requests[2].endswith(b"Content-Length: 2\r\n\r\n[]")
    assert raw.connections == 1, "the connection is kept"


@pytest.mark.parametrize(("answer", "body"), [(OK, b"hello"), (CHUNKED, b"abc0123456789")])
async def test_answer_cut_at_every_position(raw: RawServer, client: HttpClient, answer: bytes, body: bytes) -> None:
    for at in range(1, len(answer)):
        raw.script.append(say(answer[:at], answer[at:]))
        found = await heard(client)
        assert (found.status, found.body, found.ends) == (200, body, [None]), at
    assert raw.connections == 1


async def test_chunks_come_as_they_are_sent(raw: RawServer, client: HttpClient) -> None:
    first_is_here = asyncio.Event()

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED[: CHUNKED.index(b"a\r\n0")])
        await first_is_here.wait()
        writer.write(CHUNKED[CHUNKED.index(b"a\r\n0") :])

    class Telling(Heard):
        def data(self, chunk: bytes) -> None:
            super().data(chunk)
            first_is_here.set()

    raw.script.append(write)
    listener = Telling()
    client.post("/p", b"", listener)
    await asyncio.wait_for(listener.over.wait(), 10)
    assert listener.chunks == [b"abc", b"0123456789"]


async def test_several_calls_take_several_connections(raw: RawServer, client: HttpClient) -> None:
    gate = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(OK)

    raw.script.extend([wait] * 3)
    calls = [asyncio.create_task(client.get("/x", 10)) for _ in range(3)]
    await raw.until(lambda: len(raw.requests) == 3)
    gate.set()
    assert await asyncio.gather(*calls) == [(200, b"hello")] * 3
    assert raw.connections == 3


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "hung up"),
        (OK[:20], "hung up"),
        (OK[:-2], "hung up"),
        (CHUNKED[:-7], "hung up"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no HTTP"),
    ],
)
async def test_connection_that_ends_too_early(raw: RawServer, client: HttpClient, answer: bytes, text: str) -> None:
    raw.script.append(say(answer, close=True))
    found = await heard(client)
    (error,) = found.ends
    assert error is not None
    assert text in str(error)
    raw.script.append(say(OK))
    assert (await heard(client)).body == b"hello", "the next call is served"


async def test_kept_connection_that_was_closed_meanwhile_is_tried_once_more(raw: RawServer, client: HttpClient) -> None:
    raw.script.extend([say(OK), say(close=True), say(OK)])
    await heard(client)
    found = await heard(client)
    assert (found.body, found.ends) == (b"hello", [None])
    assert raw.connections == 2
    raw.script.extend([say(close=True), say(close=True), say(OK)])
    assert (await heard(client)).ends[0] is not None, "a fresh connection that is closed is an error"
    assert len(raw.script) == 1


async def test_answer_that_broke_off_is_not_asked_for_again(raw: RawServer, client: HttpClient) -> None:
    raw.script.extend([say(OK), say(OK[:-1], close=True)])
    await heard(client)
    assert "hung up" in str((await heard(client)).ends[0])
    assert len(raw.requests) == 2


async def test_idle_connection_is_not_used_for_long(
    raw: RawServer, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.script.extend([say(OK)] * 2)
    await heard(client)
    monkeypatch.setattr(module, "IDLE_S", 0.0)
    await heard(client)
    assert raw.connections == 2


async def test_server_that_wants_to_close_is_let(raw: RawServer, client: HttpClient) -> None:
    raw.script.extend([say(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")), say(OK)])
    await heard(client)
    await heard(client)
    assert raw.connections == 2


async def test_abort_hangs_up_and_silences(raw: RawServer, client: HttpClient) -> None:
    raw.script.append(nothing)
    listener = Heard()
    call = client.post("/p", b"", listener)
    await raw.until(lambda: len(raw.requests) == 1)
    call.abort()
    call.abort()
    await raw.until(lambda: raw.gone == 1)
    assert listener.ends == []


async def test_abort_within_an_answer(raw: RawServer, client: HttpClient) -> None:
    class Aborting(Heard):
        def data(self, chunk: bytes) -> None:
            super().data(chunk)
            call.abort()

    raw.script.extend([say(CHUNKED), say(OK)])
    listener = Aborting()
    call = client.post("/p", b"", listener)
    await raw.until(lambda: raw.gone == 1)
    assert (listener.chunks, listener.ends) == ([b"abc"], [])
    assert (await heard(client)).body == b"hello"
    assert raw.connections == 2


async def test_abort_after_the_answer_leaves_the_connection_to_others(raw: RawServer, client: HttpClient) -> None:
    raw.script.extend([say(OK), say(OK)])
    listener = Heard()
    call = client.post("/p", b"", listener)
    await asyncio.wait_for(listener.over.wait(), 10)
    other = Heard()
    client.post("/p", b"", other)
    call.abort()
    await asyncio.wait_for(other.over.wait(), 10)
    assert (other.ends, raw.connections) == ([None], 1)


async def test_abort_while_dialling(raw: RawServer, client: HttpClient) -> None:
    listener = Heard()
    call = client.post("/p", b"", listener)
    call.abort()
    await raw.until(lambda: raw.gone == 1)
    assert (listener.ends, raw.requests) == ([], [])


async def test_no_answer_in_time(raw: RawServer, client: HttpClient) -> None:
    raw.script.append(nothing)
    with pytest.raises(HttpError, match=r"no answer from http://127\.0\.0\.1:\d+/prefix within 0\.01 s"):
        await client.get("/health", 0.01)
    await raw.until(lambda: raw.gone == 1)


async def test_caller_that_is_cancelled_hangs_up(raw: RawServer, client: HttpClient) -> None:
    raw.script.append(nothing)
    task = asyncio.create_task(client.get("/health", 10))
    await raw.until(lambda: len(raw.requests) == 1)
    task.cancel()
    await raw.until(lambda: raw.gone == 1)


async def test_nobody_listens_there() -> None:
    client = HttpClient(Address("127.0.0.1", 1))
    with pytest.raises(HttpError, match=r"cannot reach http://127\.0\.0\.1:1: "):
        await client.get("/health", 5)


async def test_answer_that_never_ends(raw: RawServer, client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 20)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"
    raw.script.append(say(head + b"x" * (1 << 20) + b"y" * 100))
    error = (await heard(client)).ends[0]
    assert "more than 1 MiB" in str(error)
    await raw.until(lambda: raw.gone == 1)


async def test_second_answer_that_nobody_asked_for(raw: RawServer, client: HttpClient) -> None:
    """It must not be taken for the answer to the next question, nor may its connection be used twice at once."""
    raw.script.extend([say(OK + OK), nothing, nothing])
    assert (await heard(client)).body == b"hello"
    calls = [client.post("/p", b"", Heard()) for _ in range(2)]
    await raw.until(lambda: len(raw.requests) == 3)
    assert raw.connections == 3
    for call in calls:
        call.abort()


async def test_listener_that_fails_ends_its_call(raw: RawServer, client: HttpClient) -> None:
    class Failing(Heard):
        def data(self, chunk: bytes) -> None:
            raise RuntimeError("boom")

    raw.script.append(say(OK))
    listener = Failing()
    client.post("/p", b"", listener)
    await asyncio.wait_for(listener.over.wait(), 10)
    assert listener.ends[0] is not None


async def test_close_ends_what_is_idle(raw: RawServer, client: HttpClient) -> None:
    raw.script.append(say(OK))
    await heard(client)
    client.close()
    await raw.until(lambda: raw.gone == 1)


async def test_host_that_is_an_ipv6_address() -> None:
    client = HttpClient(Address("::1", 8000))
    assert "Host: [::1]:8000\r\n" in client._fields


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("http://host:81", Address("host", 81), "http://host:81"),
        ("http://host", Address("host", 80), "http://host:80"),
        ("http://[::1]:81/a/b/", Address("::1", 81, "/a/b"), "http://[::1]:81/a/b"),
    ],
)
def test_addresses(url: str, address: Address, shown: str) -> None:
    assert Address.parse(url) == address
    assert str(address) == shown


@pytest.mark.parametrize("url", ["", "host:81", "https://host", "http://", "http://host:x", "http://host:99999"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError):
        Address.parse(url)
