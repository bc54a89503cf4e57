"""An error answer in the OpenAI envelope."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from orchestrator.frontend.http.server.response import Response

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 499: "request_cancelled"}


class ApiError(Exception):
    """An error response. `code` is stable and for programs, `message` for people."""

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def envelope(self) -> dict[str, Any]:
        """The JSON body."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        return Response(self._encoded(), self.status, headers=self.headers)

    def event(self) -> bytes:
        """The same as a server-sent event, for a stream that has begun."""
        return b"data: %b\n\n" % self._encoded()

    def _encoded(self) -> bytes:
        try:
            return orjson.dumps(self.envelope())
        except TypeError:  # the message quotes half a surrogate pair of the client's
            return json.dumps(self.envelope()).encode()


def internal_error(request_id: str) -> ApiError:
    """What a client is told of a fault of ours."""
    return ApiError(500, f"Internal error: look for request {request_id} in the front door's log.", "internal_error")
