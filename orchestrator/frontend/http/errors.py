"""Errors in the OpenAI envelope."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text import GenerationCancelled, InvalidRequest

DROPPED_HEADER = "x-llm-d-request-dropped-reason"
_DEFAULT_RETRY_S = 1.0
_TYPES = {401: "authentication_error", 429: "rate_limit_error", 499: "request_cancelled"}
# Status, code and whether the workers had spent work on the request (`evicted`) or not (`rejected`).
_CAUSES: dict[Cause, tuple[int, str, str]] = {
    Cause.INVALID: (400, "invalid_request", "rejected-invalid"),
    Cause.DUPLICATE: (409, "duplicate_request_id", "rejected-duplicate"),
    Cause.KEY_REQUESTS: (429, "rate_limit_exceeded", "rejected-key-requests"),
    Cause.KEY_CONCURRENCY: (429, "rate_limit_exceeded", "rejected-key-concurrency"),
    Cause.KEY_TOKENS: (429, "rate_limit_exceeded", "rejected-key-tokens"),
    Cause.QUEUE_FULL: (429, "queue_full", "rejected-queue-full"),
    Cause.NO_CAPACITY: (503, "no_capacity", "rejected-no-capacity"),
    Cause.TIMEOUT: (504, "timeout", "evicted-timeout"),
    Cause.SHUTTING_DOWN: (503, "shutting_down", "rejected-shutting-down"),
    Cause.WORKER: (500, "worker_failure", "evicted-worker-failure"),
}


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

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            text=json.dumps(self.envelope()),
            content_type="application/json",
            headers=self.headers,
        )

    def event(self) -> bytes:
        """The same as a server-sent event, for a stream that has begun."""
        return f"data: {json.dumps(self.envelope())}\n\n".encode()


def as_api_error(error: InvalidRequest | ServiceError | GenerationCancelled) -> ApiError:
    """The HTTP form of an error of the layers below."""
    if isinstance(error, InvalidRequest):
        return ApiError(400, error.message, error.code, error.param)
    if isinstance(error, GenerationCancelled):
        return ApiError(
            499, "The request was cancelled by an operator: send it again if you still need it.", "cancelled"
        )
    status, code, dropped = _CAUSES[error.cause]
    headers = {DROPPED_HEADER: dropped}
    if error.retry_after_s is not None or status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s or _DEFAULT_RETRY_S)))
    return ApiError(status, error.message, code, headers=headers)


def internal_error(request_id: str) -> ApiError:
    """What a client is told of a fault of ours."""
    return ApiError(500, f"Internal error: look for request {request_id} in the front door's log.", "internal_error")
