"""API keys on gRPC: every call but health and reflection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from orchestrator.frontend.http.api_keys import ApiKeys

PREFIX = "/pd.v1."
REMEDY = "a valid API key is needed: send the metadata 'authorization: Bearer KEY' (pdctl: TANDEM_API_KEY)"


class KeyCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Ends a call without a valid key with UNAUTHENTICATED. Without configured keys it lets everything through."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = ApiKeys(keys)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        handler = await continuation(details)
        if handler is None or not details.method.startswith(PREFIX) or self._keys.allow(str(given)):
            return handler

        async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, REMEDY)

        make = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(refuse, handler.request_deserializer, handler.response_serializer)
