"""A request as handlers see it."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from orchestrator.frontend.http.server.error import ApiError
from orchestrator.frontend.http.server.headers import Headers
from orchestrator.frontend.http.server.response import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from orchestrator.frontend.http.server.stream import Stream

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Unique within a cluster: eight random bytes per process, then a count.
_PREFIX = secrets.token_hex(8)
_COUNT = itertools.count(1)

Reply = Response | None
Handler = Callable[["Request"], "Awaitable[Reply] | Reply"]


def valid_request_id(value: str) -> bool:
    """Whether a client's request id can be used as it is: 1 to 128 letters, digits, dots, underscores, dashes."""
    return _VALID_ID.fullmatch(value) is not None


def new_request_id() -> str:
    return f"{_PREFIX}{next(_COUNT):08x}"


class Caller(Protocol):
    """Who sent a request, and what it may still use; see orchestrator.frontend.auth."""

    def charge(self, tokens: int) -> None: ...

    def done(self, used_tokens: int | None = None) -> None: ...


class Request:
    """One request. `body` is complete when the handler is called.

    `id` is the client's X-Request-Id where it is well formed, else a new one. `arrival_s` is `time.perf_counter` when the
    headers were complete. `parameters` holds what a prefix route matched, `caller` what `App.guard` returned;
    the server tells it when the request is over.
    """

    __slots__ = (
        "_stream", "arrival_s", "body", "caller", "handler", "headers", "http_1_0", "id", "keep_alive", "method",
        "parameters", "path", "peer", "query", "refusal",
    )  # fmt: skip

    def __init__(self, method: str, path: str, query: str, headers: Headers, peer: str, arrival_s: float) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.peer = peer
        self.arrival_s = arrival_s
        given = headers.raw.get(b"x-request-id")
        value = "" if given is None else given.decode("latin-1")
        self.id = value if value and valid_request_id(value) else new_request_id()
        self.body = b""
        self.parameters: Mapping[str, str] = {}
        self.caller: Caller | None = None
        self.keep_alive = True
        self.http_1_0 = False
        # Set by the server: who answers, and why nobody does.
        self.handler: Handler | None = None
        self.refusal: ApiError | None = None
        self._stream: Stream | None = None

    def stream(self) -> Stream:
        """The way to answer piece by piece, or later than the handler returns. A handler that uses it returns None."""
        assert self._stream is not None, "a request is answered on its connection"
        self._stream.taken = True
        return self._stream

    def release(self) -> None:
        """The request is over, or will not be answered."""
        self._stream = None  # the two know each other: without this only the cycle collector would free body and stream
        if self.caller is not None:
            self.caller.done()
