"""A client that sends any bytes, and reads what comes as HTTP answers."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

CHUNK_BYTES = 1 << 16


class NoAnswer(AssertionError):
    """What came back is no sequence of HTTP answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Heard:
    """All that came back. `closed`: the server hung up; `elapsed_s`: until the last thing happened."""

    answers: list[Answer] = field(default_factory=list)
    closed: bool = False
    elapsed_s: float = 0.0
    rest: bytes = b""


def talk(
    port: int,
    pieces: Sequence[bytes],
    methods: Sequence[str] = ("POST",),
    *,
    pause_s: float = 0.0,
    shut: bool = False,
    limit_s: float = 20.0,
    until_closed: bool = False,
) -> Heard:
    """Send `pieces`, `pause_s` apart, and read until each of `methods` has its answer (or, if `until_closed`, the server closes).

    With `shut` our side is closed after the last piece. Raises TimeoutError if the server does neither within `limit_s`.
    """
    heard, data, queue = Heard(), b"", [memoryview(piece) for piece in pieces if piece]
    begun = time.monotonic()
    next_s = begun
    with socket.create_connection(("127.0.0.1", port), timeout=5) as channel:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel.setblocking(False)
        while True:
            now = time.monotonic()
            if now - begun > limit_s:
                raise TimeoutError(f"neither an answer nor a close within {limit_s:g} s; got {data[:200]!r}")
            may_send = bool(queue) and now >= next_s
            wait_s = limit_s + 0.01 - (now - begun)
            if queue and not may_send:
                wait_s = min(wait_s, next_s - now)
            readable, writable, _ = select.select([channel], [channel] if may_send else [], [], max(0.0, wait_s))
            if readable:
                try:
                    more = channel.recv(CHUNK_BYTES)
                except ConnectionError:
                    more = b""
                data += more
                heard.closed = not more
                heard.answers, heard.rest = parse(data, methods)
                if heard.closed or (len(heard.answers) >= len(methods) and not until_closed):
                    break
            elif writable:
                try:
                    sent = channel.send(queue[0][:CHUNK_BYTES])
                except ConnectionError:
                    queue.clear()
                    continue
                queue[0] = queue[0][sent:]
                if not queue[0]:
                    del queue[0]
                    next_s = time.monotonic() + pause_s
                if not queue and shut:
                    with contextlib.suppress(OSError):
                        channel.shutdown(socket.SHUT_WR)
    heard.elapsed_s = time.monotonic() - begun
    return heard


def parse(data: bytes, methods: Sequence[str]) -> tuple[list[Answer], bytes]:
    """The whole answers in `data`, and what is left; an answer to HEAD has no body. Raises NoAnswer."""
    answers: list[Answer] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return answers, data
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        if version != "HTTP/1.1" or not status[:3].isdigit():
            raise NoAnswer(f"status line {first!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip() or "\n" in line or name.lower() in headers:
                raise NoAnswer(f"header line {line!r}")
            headers[name.lower()] = value.strip()
        code = int(status[:3])
        if code == 100:
            data = rest
            continue
        method = methods[min(len(answers), len(methods) - 1)]
        body: bytes | None
        if method == "HEAD":
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body, rest = _chunks(rest)
        else:
            length = int(headers["content-length"])
            body, rest = (rest[:length], rest[length:]) if len(rest) >= length else (None, rest)
        if body is None:
            return answers, data
        answers.append(Answer(code, headers, body))
        data = rest
    return answers, b""


def _chunks(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        size, end, rest = data.partition(b"\r\n")
        if not end:
            return None, data
        length = int(size, 16)
        if len(rest) < length + 2:
            return None, data
        if rest[length : length + 2] != b"\r\n":
            raise NoAnswer("a chunk without its end")
        body, data = body + rest[:length], rest[length + 2 :]
        if not length:
            return body, data
