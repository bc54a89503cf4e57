"""A server that is told to end: who was there gets an answer, and who comes in between is not reset."""

from __future__ import annotations

import asyncio
import errno
import select
import socket

import pytest

from orchestrator.frontend.http.server import App, Bounds, Server, start_http
from orchestrator.frontend.http.server.parting import turn_away
from tests.frontend.conftest import until
from tests.frontend.server.conftest import Connect, Seen, post

GET = b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n"
WAITING = 50


@pytest.mark.parametrize("cancelled", [False, True])
async def test_who_waits_in_the_queue_is_answered(app: App, cancelled: bool) -> None:
    server, port = await start_http(app, "127.0.0.1", 0, bounds=Bounds())
    waiting = [
        socket.create_connection(("127.0.0.1", port)) for _ in range(WAITING)
    ]  # the loop does not turn meanwhile
    for client in waiting:
        client.sendall(GET)
    assert not server.connections
    stopping = asyncio.create_task(server.stop_listening(0.0))
    if cancelled:
        await asyncio.sleep(0)
        stopping.cancel()
    await server.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await server.close()
    for client in waiting:
        answer = client.recv(4096)
        client.close()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not server.connections


async def test_drain_goes_on_listening_and_every_answer_is_the_last(
    served: tuple[Server, int], connect: Connect, seen: Seen
) -> None:
    server, _ = served
    used, busy = await connect(), await connect()
    used.send(GET)
    assert "connection" not in (await used.answer())[1]
    busy.send(post("/stream"))
    await until(lambda: bool(seen.streams))
    server.drain()
    new = await connect()
    for client in (used, new):
        client.send(GET)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (200, "close") and await client.rest() == b""
    seen.streams[0].end(b"whole")
    assert (await busy.rest()).endswith(b"whole\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "sent", [b"", GET[:9], post("/echo", b"ab")[:-1]], ids=["nothing", "part of head", "part of body"]
)
async def test_who_has_just_come_may_still_ask(served: tuple[Server, int], connect: Connect, sent: bytes) -> None:
    server, _ = served
    client, idle = await connect(), await connect()
    idle.send(GET)
    await idle.answer()
    client.send(sent)
    await until(lambda: len(server.connections) == 2)
    await until(lambda: not sent or any(c.reader.in_head or c.reader.pending for c in server.connections))
    closing = asyncio.create_task(server.close())
    await until(lambda: server._parting is not None and server._parting.done())
    client.send((post("/echo", b"ab") if b"POST" in sent else GET)[len(sent) :])
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (200, "close")
    await asyncio.wait_for(closing, 5)
    assert await idle.rest() == b""


def test_handshake_that_begins_late_is_left_to_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as late:
        early = socket.create_connection(listener.getsockname())
        if not turn_away(listener.fileno()):
            pytest.skip("this kernel attaches no filter to a socket")
        late.setblocking(False)
        assert late.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        accepted, peer = listener.accept()
        assert peer == early.getsockname()
        assert select.select([listener], [], [], 0)[0] == []
        assert select.select([], [late], [], 0)[1] == [], "neither accepted nor refused"
        early.sendall(b"still read")
        assert accepted.recv(10) == b"still read"
        accepted.close()
        early.close()
