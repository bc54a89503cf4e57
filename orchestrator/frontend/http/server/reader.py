"""Bytes of a connection in, requests out: the callbacks of llhttp, and what it does not check.

llhttp in its strict form refuses both Content-Length and Transfer-Encoding, several Content-Lengths, chunked that is not last,
bad chunk sizes, folded header lines, bare CR and LF, space before a colon and control characters. Source: RFC 9112 §2.2, §5, §6.
"""

from __future__ import annotations

import time
from typing import Protocol

import httptools

from orchestrator.frontend.http.server.app import App
from orchestrator.frontend.http.server.bounds import Bounds
from orchestrator.frontend.http.server.error import ApiError
from orchestrator.frontend.http.server.headers import Headers
from orchestrator.frontend.http.server.memory import Memory
from orchestrator.frontend.http.server.request import Request
from orchestrator.frontend.http.server.target import split_target

_ONCE = frozenset({b"host", b"content-type", b"authorization", b"expect", b"transfer-encoding"})


class _Full(Exception):
    """More requests were sent ahead of their answers than are kept."""


class Receiver(Protocol):
    """Takes complete requests."""

    def receive(self, request: Request) -> bool:
        """Queue `request`; False if no more can be taken."""


class RequestReader:
    """Reads one connection. `pending` is the request whose body is being read, `since_s` when its head or body began."""

    def __init__(self, receiver: Receiver, app: App, bounds: Bounds, memory: Memory, peer: str) -> None:
        self._receiver = receiver
        self._app = app
        self._bounds = bounds
        self._memory = memory
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self._full = False
        self.pending: Request | None = None
        self.in_head = False
        self.since_s = 0.0
        self.received_bytes = 0
        self.expects_continue = False
        self._body: list[bytes] = []
        self._raw: dict[bytes, bytes] = {}
        self._target = b""
        self._head_bytes = self._partial_bytes = self._fields = 0

    def feed(self, data: bytes) -> None:
        """Raises ApiError for what is no HTTP or breaks a bound; nothing can be read after that."""
        if self.pending is None:
            self._partial_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._full = True  # the request has been delivered; what follows it is another protocol
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, _Full):
                raise cause if isinstance(cause, Exception) else error from None
            self._full = True
        except httptools.HttpParserError as error:
            if not self._full:
                raise ApiError(
                    400, f"This is no valid HTTP/1.1 request: {error}. Correct the client.", "bad_http"
                ) from None
        if self.in_head and self._partial_bytes > self._bounds.max_header_bytes + self._bounds.max_target_bytes:
            raise self._too_many_headers()

    @property
    def full(self) -> bool:
        """Nothing more is read from this connection."""
        return self._full

    def drop(self) -> Request | None:
        """Forget the request in progress, and return it if its headers were complete."""
        pending, self.pending = self.pending, None
        self._memory.give(self.received_bytes)
        self.in_head, self._body, self.received_bytes = False, [], 0
        self.expects_continue = False
        return pending

    def on_message_begin(self) -> None:
        if self._full:
            raise _Full
        self.in_head, self.since_s = True, time.monotonic()
        self._raw, self._target = {}, b""
        self._head_bytes = self._fields = 0

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > self._bounds.max_target_bytes:
            raise ApiError(
                414, f"The path is longer than {self._bounds.max_target_bytes} bytes: shorten it.", "target_too_long"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._fields += 1
        self._head_bytes += len(name) + len(value)
        if self._fields > self._bounds.max_headers or self._head_bytes > self._bounds.max_header_bytes:
            raise self._too_many_headers()
        if not self.in_head:
            return  # a trailer
        if name not in self._raw:
            self._raw[name] = value.rstrip()
        elif name in _ONCE:
            raise ApiError(400, f"Header {name.decode()} was sent twice: send it once.", "duplicate_header")

    def on_headers_complete(self) -> None:
        self.in_head, self._partial_bytes = False, 0
        parser, raw = self._parser, self._raw
        version = parser.get_http_version()
        self._check(version)
        path, query = split_target(self._target)
        request = Request(parser.get_method().decode(), path, query, Headers(raw), self._peer, time.perf_counter())
        request.http_1_0 = version == "1.0"
        request.keep_alive = parser.should_keep_alive()
        self._app.admit(request)
        length = raw.get(b"content-length")
        if length is not None and int(length) > self._bounds.max_body_bytes:
            request.refusal = request.refusal or self._too_large()
        self.expects_continue = b"expect" in raw and not request.http_1_0 and request.refusal is None
        self.pending, self.received_bytes = request, 0
        self.since_s = time.monotonic()

    def on_body(self, data: bytes) -> None:
        request = self.pending
        if request is None or request.refusal is not None:
            return
        self.expects_continue = False
        self.received_bytes += len(data)
        self._body.append(data)
        if not self._memory.take(len(data)):
            request.refusal = ApiError(
                503, "Too many requests are being received: try again.", "busy", headers={"Retry-After": "1"}
            )
        elif self.received_bytes > self._bounds.max_body_bytes:
            request.refusal = self._too_large()

    def on_message_complete(self) -> None:
        request = self.pending
        if request is None:
            return
        body = self._body
        if body:
            request.body = body[0] if len(body) == 1 else b"".join(body)
        self.drop()
        self._full = not self._receiver.receive(request) or not request.keep_alive

    def _check(self, version: str) -> None:
        """What llhttp lets pass and we do not."""
        raw = self._raw
        if version == "1.1":
            if b"host" not in raw:
                raise ApiError(400, "Header Host is missing: send it once.", "missing_host")
        elif version != "1.0":
            raise ApiError(505, f"HTTP/{version} is not served here: use HTTP/1.1.", "http_version")
        coding = raw.get(b"transfer-encoding")
        if coding is not None and (version == "1.0" or coding.lower() != b"chunked"):
            raise ApiError(
                400, "Only 'Transfer-Encoding: chunked' of HTTP/1.1 is served: send that.", "transfer_encoding"
            )
        if raw.get(b"expect", b"100-continue").lower() != b"100-continue":
            raise ApiError(417, "Only 'Expect: 100-continue' is served: remove the header.", "expectation")

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"The body is larger than {self._bounds.max_body_bytes} bytes: shorten the prompt, or raise frontDoor.maxBodyBytes.",
            "body_too_large",
        )

    def _too_many_headers(self) -> ApiError:
        bounds = self._bounds
        message = f"The headers are more than {bounds.max_headers} or {bounds.max_header_bytes} bytes: send fewer."
        return ApiError(431, message, "headers_too_large")
