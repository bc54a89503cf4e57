"""Asks the other front doors of the cluster what only they know: their requests and their ledgers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from orchestrator.frontend.admin.errors import Context
from orchestrator.state import Document, Store
from pd.v1 import admin_pb2_grpc

DEADLINE_S = 2.0
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 64 << 20)]
R = TypeVar("R")
Ask = Callable[[Any, float, Any], Awaitable[R]]
"""(stub, deadline in seconds, metadata) → the answer."""


class Siblings:
    """The front doors beside `own`. They share one public port, so each says in the store where it alone answers."""

    def __init__(self, store: Store, own: str) -> None:
        self._store = store
        self._own = own
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def ask(self, context: Context, ask: Ask[R]) -> tuple[dict[str, R], list[str]]:
        """The answers by name, and who did not answer in time. The caller's key goes along."""
        doors = await asyncio.to_thread(self._store.list, "frontdoor")
        others = {name: door for name, door in doors.items() if name != self._own}
        self._forget({str(door.get("peer_address")) for door in others.values()})
        metadata = [(key, value) for key, value in context.invocation_metadata() or () if key == "authorization"]
        answers = await asyncio.gather(
            *(self._ask(door, ask, metadata) for door in others.values()), return_exceptions=True
        )
        found = {n: a for n, a in zip(others, answers, strict=True) if not isinstance(a, BaseException)}
        return found, [name for name in others if name not in found]

    async def _ask(self, door: Document, ask: Ask[R], metadata: list[tuple[str, Any]]) -> R:
        address = door["peer_address"]
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=OPTIONS)
        return await ask(admin_pb2_grpc.AdminStub(channel), DEADLINE_S, metadata)

    def _forget(self, addresses: set[str]) -> None:
        for address in self._channels.keys() - addresses:
            # Front doors of this address are gone; what still runs there ends by itself.
            task = asyncio.ensure_future(self._channels.pop(address).close())
            task.add_done_callback(lambda done: done.exception())
