"""When one of several front doors that drains closes its listener.

A front door that is the last one to answer must go on listening, or clients get refused connections where 503 and Retry-After
tell them when to come again. One of several that ends alone must not, or the kernel goes on to give it its share of the new
connections. So it closes its listener early if, and only if, another one is there that does not drain.

Each marks itself before it looks, so of those that are told together the last to mark sees the marks of all. The launcher
marks all before it tells any; then every one of them listens until its own requests are done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.state.base import Store, StoreError
from orchestrator.state.draining import mark_draining

log = logging.getLogger(__name__)

LOOK_S = 0.5
ASK_S = 1.0
OPTIONS = [("grpc.enable_http_proxy", 0)]
Asks = Callable[[str], Awaitable[bool]]


async def serves(address: str) -> bool:
    """Whether the front door at `address` (gRPC, its own) answers and says that it serves."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        try:
            reply: Any = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=ASK_S)
        except grpc.aio.AioRpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def another_serves(store: Store, own: str, asks: Asks = serves) -> bool:
    """Mark front door `own` as draining; whether another one serves and does not drain. Raises StoreError."""
    await asyncio.to_thread(mark_draining, store, own)
    doors = await asyncio.to_thread(store.list, "frontdoor")
    for name, door in doors.items():
        if name != own and not door.get("draining") and await asks(str(door.get("peer_address"))):
            return True
    return False


async def retreat(store: Store, own: str, stop_listening: Callable[[], Awaitable[None]], asks: Asks = serves) -> None:
    """Look until another front door serves, and then stop listening. A store that is away is no reason to: 503 is never wrong."""
    while True:
        try:
            if await another_serves(store, own, asks):
                await stop_listening()
                return
        except StoreError as error:
            log.info("goes on listening: %s", error)
        await asyncio.sleep(LOOK_S)
