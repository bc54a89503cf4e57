"""HTTP/1.1 requests as bytes."""

from __future__ import annotations

from tests.frontend.conftest import MODEL

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def post(path: str, body: bytes, *lines: bytes, kind: str = "application/json") -> bytes:
    """A well framed request."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode("latin-1") + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


GOOD_BODY = f'{{"model":"{MODEL}","prompt":[5,6,7],"max_tokens":3}}'.encode()
GOOD = post("/v1/completions", GOOD_BODY)
