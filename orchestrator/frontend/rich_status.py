"""gRPC errors with details: google.rpc.BadRequest, RetryInfo and ErrorInfo."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from orchestrator.core.quote import cut
from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text import GenerationCancelled, InvalidRequest

_DOMAIN = "tandem"
_DEFAULT_RETRY_S = 1.0
_CODES: dict[Cause, grpc.StatusCode] = {
    Cause.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Cause.DUPLICATE: grpc.StatusCode.ALREADY_EXISTS,
    Cause.KEY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cause.KEY_CONCURRENCY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cause.KEY_TOKENS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cause.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cause.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cause.NO_CAPACITY: grpc.StatusCode.UNAVAILABLE,
    Cause.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Cause.SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    Cause.WORKER: grpc.StatusCode.INTERNAL,
}
_RETRY = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


async def abort(context: Any, error: InvalidRequest | ServiceError | GenerationCancelled) -> NoReturn:
    """End the call of `context` (a grpc.aio servicer context) with the status of `error`."""
    code, message, details = _parts(error)
    message = cut(message)
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort returned")


def _parts(error: InvalidRequest | ServiceError | GenerationCancelled) -> tuple[grpc.StatusCode, str, list[Message]]:
    if isinstance(error, GenerationCancelled):
        return grpc.StatusCode.CANCELLED, "cancelled by an operator: send the request again if you still need it", []
    if isinstance(error, InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.param or "", description=error.message)
        bad = error_details_pb2.BadRequest(field_violations=[violation])
        return grpc.StatusCode.INVALID_ARGUMENT, error.message, [bad, _info(error.code)]
    code = _CODES[error.cause]
    details: list[Message] = [_info(error.cause.value)]
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        violation = error_details_pb2.BadRequest.FieldViolation(description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None or code in _RETRY:
        retry = error_details_pb2.RetryInfo()
        fraction, seconds = math.modf(error.retry_after_s or _DEFAULT_RETRY_S)
        retry.retry_delay.seconds, retry.retry_delay.nanos = int(seconds), int(fraction * 1e9)
        details.append(retry)
    return code, error.message, details


def _info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason.upper(), domain=_DOMAIN)
