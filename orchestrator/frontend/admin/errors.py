"""How Admin refuses: a message with the remedy, and machine-readable details."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from orchestrator.core.config.problems import did_you_mean
from orchestrator.core.quote import MOST_QUOTED_CHARS, cut, quoted

Context = grpc.aio.ServicerContext[Any, Any]


async def not_found(context: Context, kind: str, name: str, known: Iterable[str]) -> NoReturn:
    """End the call with NOT_FOUND; the message names what exists."""
    known = list(known)
    hint = did_you_mean(name, known[-20:]) if known else f"there is no {kind} at all"
    info = error_details_pb2.ResourceInfo(resource_type=kind, resource_name=cut(name, MOST_QUOTED_CHARS))
    await _abort(context, code_pb2.NOT_FOUND, f"there is no {kind} {quoted(name)}; {hint}", info)


async def invalid(context: Context, field: str, message: str) -> NoReturn:
    """End the call with INVALID_ARGUMENT about `field`; `message` says what to do."""
    message = cut(message)
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    await _abort(context, code_pb2.INVALID_ARGUMENT, message, bad)


async def refuse(context: Context, message: str) -> NoReturn:
    """End the call with FAILED_PRECONDITION: right in itself, but not now; `message` says what to do."""
    message = cut(message)
    violation = error_details_pb2.PreconditionFailure.Violation(type="STATE", subject="cluster", description=message)
    failure = error_details_pb2.PreconditionFailure(violations=[violation])
    await _abort(context, code_pb2.FAILED_PRECONDITION, message, failure)


async def exhausted(context: Context, message: str) -> NoReturn:
    """End the call with RESOURCE_EXHAUSTED; `message` says when to try again."""
    violation = error_details_pb2.QuotaFailure.Violation(subject="front door", description=message)
    await _abort(context, code_pb2.RESOURCE_EXHAUSTED, message, error_details_pb2.QuotaFailure(violations=[violation]))


async def _abort(context: Context, code: int, message: str, detail: Message) -> NoReturn:
    status = status_pb2.Status(code=code, message=cut(message))
    status.details.add().Pack(detail)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status returned")
