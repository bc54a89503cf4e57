"""Forms by which two readers of one byte stream could disagree are refused and end the connection."""

from __future__ import annotations

import json

import pytest

from tests.frontend.server.conftest import Connect, Seen, post

HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED = {
    "length and chunked": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "two different lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "length in hex": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999\r\n\r\nhello",
    "folded line": b"POST /echo HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare line feeds": b"POST /echo HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
    "bare carriage return": b"POST /echo HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n",
    "space before the colon": b"POST /echo HTTP/1.1\r\nHost : x\r\nContent-Length: 0\r\n\r\n",
    "space before the first header": b"POST /echo HTTP/1.1\r\n Host: x\r\n\r\n",
    "no colon": b"POST /echo HTTP/1.1\r\nHost\r\n\r\n",
    "NUL in a value": b"POST /echo HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
    "NUL in a name": b"POST /echo HTTP/1.1\r\nHo\x00st: x\r\n\r\n",
    "gzip": HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "chunked is not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked is not alone": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "nearly chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": CHUNKED + b"zz\r\n\r\n",
    "negative chunk size": CHUNKED + b"-1\r\n\r\n",
    "huge chunk size": CHUNKED + b"ffffffffffffffffff\r\n\r\n",
    "chunk without carriage return": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "chunk longer than said": CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "no host": b"GET /late HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /late HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "two content types": post("/echo", b"", "Content-Type: a/b", "Content-Type: c/d"),
    "two keys": post("/echo", b"", "Authorization: Bearer a", "Authorization: Bearer b"),
    "authority form": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": b"GET late HTTP/1.1\r\nHost: x\r\n\r\n",
    "another scheme": b"GET ftp://x/late HTTP/1.1\r\nHost: x\r\n\r\n",
    "line break in the path": b"GET /late%0d%0aX:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes above ASCII in the path": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"FOO /late HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("pieces", [1, 1000])
@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
async def test_refused(connect: Connect, seen: Seen, raw: bytes, pieces: int) -> None:
    client = await connect()
    size = -(-len(raw) // pieces)
    for i in range(0, len(raw), size):
        client.send(raw[i : i + size])
        if pieces > 1:
            await client.writer.drain()
    status, headers, body = await client.answer()
    assert 400 <= status < 500 and headers["connection"] == "close" and headers["x-request-id"]
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    client.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")  # smuggled along: never answered
    assert await client.rest() == b""
    assert not seen.requests and seen.refused == [error["code"]]


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"9.9"])
async def test_other_versions(connect: Connect, version: bytes) -> None:
    client = await connect()
    client.send(b"GET /late HTTP/%b\r\nHost: x\r\n\r\n" % version)
    status, headers, _ = await client.answer()
    assert status in (400, 505) and headers["connection"] == "close"


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\nHost: other\r\n\r\n", b"abcde"),
        (HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"\r\n\r\n" + HEAD + b"Content-Length: 003\r\n\r\nabc", b"abc"),
        (b"POST http://other.example:80/echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", b"a"),
        (b"POST /%65cho#top HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", b"a"),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_accepted_however_it_is_cut(connect: Connect, raw: bytes, body: bytes, step: int) -> None:
    client = await connect()
    for _ in range(2):
        for i in range(0, len(raw), step):
            client.send(raw[i : i + step])
            await client.writer.drain()
        assert (await client.answer())[::2] == (200, body)
