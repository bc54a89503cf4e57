"""Whatever bytes come, in whatever pieces: answers in order, refusals that end the connection, and nothing raised."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.frontend.http.server import App, Bounds, Request, Response, Server
from orchestrator.frontend.http.server.connection import Connection

PARTS = st.sampled_from(
    [
        b"GET", b"POST", b" ", b"/echo", b"/", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: x\r\n", b"Content-Length: 3\r\n",
        b"Content-Length: 70000\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\x00", b":", b"3\r\nabc\r\n", b"0\r\n\r\n",
        b"abc", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff",
        b"X: y\r\n", b"a" * 5000, b"%00", b"?a=b", b"http://h", b"*", b"POST /echo HTTP/1.1\r\nHost: x\r\n",
    ]
)  # fmt: skip


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.ended = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert not self.ended, "written after the end"
        self.sent += data

    def close(self) -> None:
        self.ended = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def echo(request: Request) -> Response:
    return Response(request.body, headers={"X-Echo": "1"})


def answers(sent: bytes) -> list[tuple[int, bool, bytes]]:
    """Status, whether the connection ends with it, and body of every answer."""
    found = []
    while sent:
        head, separator, sent = sent.partition(b"\r\n\r\n")
        assert separator and head.startswith(b"HTTP/1.1 "), head
        status = int(head.split()[1])
        if status == 100:
            continue
        lines = {name.lower(): value.strip() for name, _, value in (h.partition(b":") for h in head.split(b"\r\n")[1:])}
        size = int(lines[b"content-length"])
        found.append((status, lines.get(b"connection") == b"close", sent[:size]))
        sent = sent[size:]
    return found


@settings(max_examples=500, deadline=None)
@given(st.lists(st.lists(PARTS | st.binary(max_size=20), max_size=12).map(b"".join), max_size=6))
def test_any_bytes(pieces: list[bytes]) -> None:
    app = App(Bounds(max_header_bytes=4096, max_body_bytes=65536))
    app.post("/echo", echo)
    app.get("/echo", echo)
    server, wire = Server(app, app.bounds), Wire()
    connection = Connection(server)
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
    found = answers(wire.sent)
    for position, (status, closes, body) in enumerate(found):
        assert status in (200, 400, 404, 405, 413, 414, 417, 431, 505), body
        assert status == 200 or set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        assert not closes or position == len(found) - 1
        assert closes or status != 400
    assert wire.ended == (bool(found) and found[-1][1])
    connection.connection_lost(None)
    assert not server.connections and server.memory.used_bytes == 0
