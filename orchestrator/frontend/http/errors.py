"""Errors of the layers below, in the form of the HTTP API."""

from __future__ import annotations

import math

from orchestrator.frontend.http.server import ApiError, internal_error
from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text import GenerationCancelled, InvalidRequest

__all__ = ["DROPPED_HEADER", "ApiError", "as_api_error", "internal_error"]

DROPPED_HEADER = "x-llm-d-request-dropped-reason"
_DEFAULT_RETRY_S = 1.0
# Status, code and whether the workers had spent work on the request (`evicted`) or not (`rejected`).
_CAUSES: dict[Cause, tuple[int, str, str]] = {
    Cause.INVALID: (400, "invalid_request", "rejected-invalid"),
    Cause.DUPLICATE: (409, "duplicate_request_id", "rejected-duplicate"),
    Cause.KEY_REQUESTS: (429, "rate_limit_exceeded", "rejected-key-requests"),
    Cause.KEY_CONCURRENCY: (429, "rate_limit_exceeded", "rejected-key-concurrency"),
    Cause.KEY_TOKENS: (429, "rate_limit_exceeded", "rejected-key-tokens"),
    Cause.QUEUE_FULL: (429, "queue_full", "rejected-queue-full"),
    Cause.OVERLOADED: (429, "overloaded", "rejected-overloaded"),
    Cause.NO_CAPACITY: (503, "no_capacity", "rejected-no-capacity"),
    Cause.TIMEOUT: (504, "timeout", "evicted-timeout"),
    Cause.SHUTTING_DOWN: (503, "shutting_down", "rejected-shutting-down"),
    Cause.WORKER: (500, "worker_failure", "evicted-worker-failure"),
}


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
