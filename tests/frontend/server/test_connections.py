"""Requests one after another on a connection, and its end."""

from __future__ import annotations

import asyncio
import json

import pytest

from orchestrator.frontend.http.server import Server
from tests.frontend.conftest import until
from tests.frontend.server.conftest import Connect, Seen, post

GET = b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_keep_alive_and_routes(connect: Connect, seen: Seen) -> None:
    client = await connect()
    client.send(b"GET /things/a/b%20c?q=1&r=%20 HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine-1\r\n\r\n")
    status, headers, body = await client.answer()
    assert (status, headers["x-request-id"]) == (200, "mine-1") and headers["date"].endswith("GMT")
    assert json.loads(body) == {"path": "/things/a/b c", "query": "q=1&r=%20", "rest": {"name": "a/b c"}}
    ids = set()
    for _ in range(3):
        client.send(GET)
        status, headers, _ = await client.answer()
        assert status == 200 and "connection" not in headers
        ids.add(headers["x-request-id"])
    assert len(ids) == 3
    for raw, status, code in (
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
        (b"GET /things/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
        (b"DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
        (b"GET /late HTTP/1.1\r\nHost: x\r\nX-Bad: 1\r\n\r\n", 401, "denied"),
        (b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n", 500, "internal_error"),
    ):
        client.send(raw)
        found, headers, body = await client.answer()
        error = json.loads(body)["error"]
        assert (found, error["code"]) == (status, code)
        assert headers.get("allow") == ("GET, HEAD, POST" if status == 405 else None)
        assert status < 500 or headers["x-request-id"] in error["message"]
    client.send(GET)
    assert (await client.answer())[0] == 200
    assert seen.refused == ["not_found", "not_found", "method_not_allowed", "denied"]


async def test_head_has_no_body(connect: Connect) -> None:
    client = await connect()
    client.send(b"HEAD /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    raw = await client.rest()
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n") and raw.endswith(b"\r\n\r\n")
    assert b"Content-Length: 37\r\n" in raw and b"Connection: close\r\n" in raw


@pytest.mark.parametrize("wanted", ["close", "keep-alive"])
async def test_http_1_0(connect: Connect, seen: Seen, wanted: str) -> None:
    client = await connect()
    client.send(b"GET /late HTTP/1.0\r\nConnection: %b\r\n\r\n" % wanted.encode())
    assert (await client.answer())[1]["connection"] == wanted
    if wanted == "keep-alive":  # a stream without chunks ends with its connection
        client.send(post("/stream", b"", "Connection: keep-alive", version="1.0"))
        await until(lambda: bool(seen.streams))
        seen.streams[0].write(b"ab")
        seen.streams[0].write(b"cd")
        seen.streams[0].end(b"ef")
    raw = await client.rest()
    assert raw.endswith(b"\r\n\r\nabcdef") and b"chunked" not in raw if raw else wanted == "close"


async def test_a_stream_is_one_write_per_piece(connect: Connect, seen: Seen) -> None:
    client = await connect()
    client.send(post("/stream"), GET)
    await until(lambda: bool(seen.streams))
    stream = seen.streams[0]
    assert stream.started and stream.backlog_bytes == 0
    stream.write(b"first")
    async with asyncio.timeout(5):
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked\r\n" in head and b"Content-Type: text/plain\r\n" in head
        assert await client.reader.readexactly(10) == b"5\r\nfirst\r\n"
        stream.write(b"")
        stream.write(b"x" * 5000)
        assert await client.reader.readexactly(5008) == b"1388\r\n" + b"x" * 5000 + b"\r\n"
        stream.end(b"last")
        assert await client.reader.readexactly(14) == b"4\r\nlast\r\n0\r\n\r\n"
    stream.write(b"too late")
    stream.end(b"too late")
    assert (await client.answer())[0] == 200  # the request that was sent ahead
    assert not seen.gone


async def test_requests_sent_ahead_are_answered_in_order(connect: Connect, seen: Seen) -> None:
    client = await connect()
    client.send(*(post("/echo", b"%d" % i) for i in range(6)))
    assert [(await client.answer())[2] for _ in range(6)] == [b"%d" % i for i in range(6)]


async def test_too_many_sent_ahead(connect: Connect, seen: Seen) -> None:
    client = await connect()
    client.send(*(GET for _ in range(50)))
    answers = (await client.rest()).split(b"HTTP/1.1 200 OK")[1:]
    assert len(answers) == 8 and b"Connection: close" in answers[-1] and b"Connection" not in answers[-2]


async def test_a_bad_request_after_good_ones(connect: Connect) -> None:
    client = await connect()
    client.send(GET, GET, b"nonsense\r\n\r\n")
    assert [(await client.answer())[0] for _ in range(3)] == [200, 200, 400]
    assert await client.rest() == b""


@pytest.mark.parametrize("path", ["/stream", "/wait"])
@pytest.mark.parametrize("how", ["abort", "close"])
async def test_clients_that_leave(
    served: tuple[Server, int], connect: Connect, seen: Seen, path: str, how: str
) -> None:
    client = await connect()
    client.send(post(path))
    await until(lambda: bool(seen.requests))
    client.writer.transport.abort() if how == "abort" else client.writer.close()
    await until(lambda: not served[0].connections)
    await until(lambda: seen.gone + seen.cancelled == [seen.requests[0].id])
    for stream in seen.streams:
        stream.write(b"to nobody")
        stream.end()
        assert stream.over and stream.backlog_bytes == 0


async def test_upgrades_are_ignored(connect: Connect) -> None:
    client = await connect()
    client.send(GET[:-2], b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
    status, _, body = await client.answer()
    assert status == 200 and json.loads(body)["path"] == "/late"


async def test_close_waits_for_answers(served: tuple[Server, int], connect: Connect, seen: Seen) -> None:
    idle, busy = await connect(), await connect()
    busy.send(post("/stream"))
    await until(lambda: len(served[0].connections) == 2 and bool(seen.streams))
    closing = asyncio.create_task(served[0].close(5))
    assert await idle.rest() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", served[1])
    seen.streams[0].end(b"done")
    raw = await busy.rest()
    assert b"Connection: close\r\n" not in raw and raw.endswith(b"4\r\ndone\r\n0\r\n\r\n")
    await closing
    assert not seen.gone


async def test_close_hangs_up_in_the_end(served: tuple[Server, int], connect: Connect, seen: Seen) -> None:
    client = await connect()
    client.send(post("/stream"))
    await until(lambda: bool(seen.streams))
    await served[0].close(0)
    assert seen.gone == [seen.requests[0].id] and not served[0].connections
