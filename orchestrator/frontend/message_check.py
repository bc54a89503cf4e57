"""A gRPC request that is no message of its type is its sender's mistake: INVALID_ARGUMENT instead of UNKNOWN and a trace in our log."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for a message to `method` that could not be decoded."""

    method: str


class MessageCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """For calls with one request; those that stream requests are left alone."""

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(details)
        if handler is None or handler.request_streaming or handler.request_deserializer is None:
            return handler
        read = handler.request_deserializer
        method = details.method

        def decode(data: bytes) -> Any:
            try:
                return read(data)
            except DecodeError:
                return _Unreadable(method)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                _streaming(handler.unary_stream), decode, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary), decode, handler.response_serializer)


def _unary(answer: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def checked(request: Any, context: Context) -> Any:
        if isinstance(request, _Unreadable):
            await _refuse(context, request)
        return await answer(request, context)

    return checked


def _streaming(answer: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Any]:
    """`answer` yields its replies, or is a coroutine that writes them."""
    if not inspect.isasyncgenfunction(answer):
        return _unary(answer)

    async def checked(request: Any, context: Context) -> AsyncIterator[Any]:
        if isinstance(request, _Unreadable):
            await _refuse(context, request)
        async with aclosing(answer(request, context)) as replies:
            async for reply in replies:
                yield reply

    return checked


async def _refuse(context: Context, request: _Unreadable) -> NoReturn:
    message = f"the request of {request.method} is no message of its type: build it from proto/pd/v1"
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
    raise AssertionError("abort returned")
