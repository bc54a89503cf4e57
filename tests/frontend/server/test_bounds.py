"""What a client may cost. Time passes by calling `sweep`."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from orchestrator.frontend.http.server import Server
from tests.frontend.conftest import until
from tests.frontend.server.conftest import BOUNDS, Client, Connect, Seen, post

GET = b"GET /late HTTP/1.1\r\nHost: x\r\n"


def code(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


@pytest.mark.parametrize(
    ("raw", "status", "expected"),
    [
        (GET + b"X: " + b"a" * 1100 + b"\r\n\r\n", 431, "headers_too_large"),
        (GET + b"X: " + b"a" * 1400, 431, "headers_too_large"),
        (GET + b"".join(b"X%d: a\r\n" % i for i in range(30)) + b"\r\n", 431, "headers_too_large"),
        (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "target_too_long"),
        (b"GET /" + b"a" * 3000, 414, "target_too_long"),
        (post("/echo", b"a" * 1001)[:-1], 413, "body_too_large"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413, "body_too_large"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1001, 413, "body_too_large"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nX-Bad: 1\r\n\r\n", 401, "denied"),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", 404, "not_found"),
        (post("/echo", b"", "Expect: 200-ok"), 417, "expectation"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
@pytest.mark.parametrize("step", [64, 10_000])
async def test_refused_before_the_end(
    connect: Connect, seen: Seen, raw: bytes, status: int, expected: str, step: int
) -> None:
    client = await connect()
    for i in range(0, len(raw), step):
        client.send(raw[i : i + step])
        await asyncio.sleep(0)
    found, headers, body = await client.answer()
    assert (found, code(body), headers["connection"]) == (status, expected, "close")
    client.send(b"x" * 100)  # the client goes on, is not reset and finds its answer
    assert await client.rest() == b""
    assert not seen.requests and seen.refused == [expected]


async def test_a_body_of_just_the_size(connect: Connect) -> None:
    client = await connect()
    client.send(post("/echo", b"a" * 1000))
    assert (await client.answer())[2] == b"a" * 1000


async def test_continue(connect: Connect, seen: Seen) -> None:
    client = await connect()
    for _ in range(2):
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        async with asyncio.timeout(5):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        assert (await client.answer())[2] == b"abc"
    client.send(post("/echo", b"abc", "Expect: 100-continue"))
    assert (await client.answer())[::2] == (200, b"abc")  # the body is there: nothing to wait for


async def test_too_many_connections(served: tuple[Server, int], connect: Connect) -> None:
    clients = [await connect() for _ in range(4)]
    await until(lambda: len(served[0].connections) == 4)
    late = await connect()
    status, headers, body = await late.answer()
    assert (status, headers["retry-after"], code(body)) == (503, "1", "busy")
    late.writer.close()
    clients[0].writer.close()
    await until(lambda: len(served[0].connections) == 3)
    again = await connect()
    again.send(GET, b"\r\n")
    assert (await again.answer())[0] == 200


async def test_memory_of_unfinished_bodies(served: tuple[Server, int], connect: Connect) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    first, second = await connect(), await connect()
    first.send(head, b"a" * 900)
    await until(lambda: served[0].memory.used_bytes == 900)
    second.send(head, b"a" * 950)
    status, _, body = await second.answer()
    assert (status, code(body)) == (503, "busy")
    await until(lambda: served[0].memory.used_bytes == 900)
    first.writer.transport.abort()
    await until(lambda: served[0].memory.used_bytes == 0)


@pytest.mark.parametrize(
    ("raw", "allowed_s"),
    [
        (b"GET /late HT", BOUNDS.header_timeout_s),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", BOUNDS.body_timeout_s),
        (post("/echo", b"a" * 999)[:-1], BOUNDS.body_timeout_s + 998 / BOUNDS.min_body_bytes_per_s),
    ],
)
async def test_slow_writers(
    served: tuple[Server, int], connect: Connect, seen: Seen, raw: bytes, allowed_s: float
) -> None:
    server, client = served[0], await connect()
    client.send(raw)
    await until(
        lambda: any(c.reader.in_head or c.reader.received_bytes == 998 or c.reader.pending for c in server.connections)
    )
    await until(lambda: not raw.endswith(b"a") or server.memory.used_bytes == 998)
    now_s = time.monotonic()
    server.sweep(now_s + allowed_s - 1.0)
    assert not seen.refused
    server.sweep(now_s + allowed_s + 0.1)
    status, headers, body = await client.answer()
    assert (status, code(body), headers["connection"]) == (408, "request_timeout", "close")
    assert await client.rest() == b"" and server.memory.used_bytes == 0


async def test_idle_connections_are_closed(served: tuple[Server, int], connect: Connect) -> None:
    client = await connect()
    client.send(GET, b"\r\n")
    await client.answer()
    now_s = time.monotonic()
    served[0].sweep(now_s + BOUNDS.keep_alive_s - 1)
    assert served[0].connections
    served[0].sweep(now_s + BOUNDS.keep_alive_s + 1)
    assert await client.rest() == b""


async def deaf_client(served: tuple[Server, int], connect: Connect, seen: Seen) -> Client:
    """A client that asked for a stream and does not read; more than the kernel takes has been written to it."""
    client = await connect()
    client.send(post("/stream"))
    await until(lambda: bool(seen.streams))
    stream = seen.streams[0]
    while not stream.backlog_bytes:
        stream.write(b"x" * 65536)
        await asyncio.sleep(0)
    return client


async def test_a_client_that_does_not_read_is_cut_off(served: tuple[Server, int], connect: Connect, seen: Seen) -> None:
    server, client = served[0], await deaf_client(served, connect, seen)
    stream, now_s = seen.streams[0], time.monotonic()
    server.sweep(now_s)
    server.sweep(now_s + BOUNDS.stall_s - 1)
    assert not seen.gone
    while stream.backlog_bytes:
        await client.reader.read(1 << 20)
    server.sweep(now_s + BOUNDS.stall_s + 1)
    assert not seen.gone  # it has read
    while not stream.backlog_bytes:
        stream.write(b"x" * 65536)
        await asyncio.sleep(0)
    server.sweep(now_s + 100)
    server.sweep(now_s + 101 + BOUNDS.stall_s)
    assert seen.gone == [seen.requests[0].id] and stream.over
    await until(lambda: not server.connections)


async def test_a_backlog_has_a_bound(served: tuple[Server, int], connect: Connect, seen: Seen) -> None:
    await deaf_client(served, connect, seen)
    stream = seen.streams[0]
    written = 0
    while not stream.over:
        assert stream.backlog_bytes <= BOUNDS.max_backlog_bytes
        stream.write(b"x" * 1000)
        written += 1000
        assert written < 4 * BOUNDS.max_backlog_bytes
        await asyncio.sleep(0)
    assert seen.gone == [seen.requests[0].id]
    await until(lambda: not served[0].connections)
