"""The gate at the gRPC door: every call but health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc

from orchestrator.frontend.auth.api_key import KeyRole
from orchestrator.frontend.auth.caller import CALLER, Caller
from orchestrator.frontend.auth.denied import Denied
from orchestrator.frontend.auth.gate import Gate
from orchestrator.frontend.auth.rules import COUNTED_METHODS, grpc_role
from orchestrator.frontend.rich_status import abort
from orchestrator.frontend.service import ServiceError

Context = grpc.aio.ServicerContext[Any, Any]


class KeyCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Ends a call with UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED; the servicer finds its caller in `CALLER`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(details)
        role = grpc_role(details.method)
        if handler is None or role is None:
            return handler
        authorization = str(dict(details.invocation_metadata or ()).get("authorization", ""))
        if details.method in COUNTED_METHODS:
            return self._counted(handler, authorization, role)
        try:
            self._gate.admit(authorization, role)
        except Denied as denied:
            return _refusing(handler, denied)
        return handler

    def _counted(self, handler: Any, authorization: str, role: KeyRole) -> Any:
        """Counts from when the servicer begins until it ends: an intercepted call may never get there."""

        async def admit(context: Context) -> Caller:
            try:
                caller = self._gate.admit(authorization, role, counted=True)
            except Denied as denied:
                await _deny(context, denied)
            except ServiceError as error:
                await abort(context, error)
            CALLER.set(caller)
            return caller

        async def answer(request: Any, context: Context) -> Any:
            caller = await admit(context)
            try:
                return await handler.unary_unary(request, context)
            finally:
                caller.done()

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            caller = await admit(context)
            try:
                async with aclosing(handler.unary_stream(request, context)) as replies:
                    async for reply in replies:
                        yield reply
            finally:
                caller.done()

        return _like(handler, stream if handler.response_streaming else answer)


def _refusing(handler: Any, denied: Denied) -> Any:
    async def refuse(_: Any, context: Context) -> None:
        await _deny(context, denied)

    return _like(handler, refuse)


async def _deny(context: Context, denied: Denied) -> NoReturn:
    code = grpc.StatusCode.PERMISSION_DENIED if denied.known else grpc.StatusCode.UNAUTHENTICATED
    await context.abort(code, denied.message)
    raise AssertionError("abort returned")


def _like(handler: Any, behaviour: Callable[..., Any]) -> Any:
    make = grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
    return make(behaviour, handler.request_deserializer, handler.response_serializer)
