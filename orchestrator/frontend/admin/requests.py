"""The Admin calls about requests: those of this front door, and of the others beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from orchestrator.core.quote import quoted
from orchestrator.core.request import RequestState
from orchestrator.frontend.admin import messages
from orchestrator.frontend.admin.base import AdminBase
from orchestrator.frontend.admin.errors import Context, invalid, not_found
from orchestrator.frontend.admin.integrity import check_workers
from orchestrator.frontend.admin.request_names import request_ids
from orchestrator.frontend.admin.seams import FrontDoorInfo, RequestSource
from orchestrator.frontend.admin.siblings import Siblings
from orchestrator.frontend.admin.watch import changes
from orchestrator.state import Store
from pd.v1 import admin_pb2 as pb

LIST_LIMIT = 100
KNOWN = 5
"""Requests that the message about an unknown one names: the last ones."""


class Requests(AdminBase):
    """Whichever front door is asked, the answer is that of all of them."""

    def __init__(self, store: Store, dispatcher: RequestSource, info: FrontDoorInfo) -> None:
        super().__init__(store, dispatcher, info)
        self._siblings = Siblings(store, info.id)

    async def ListRequests(self, request: pb.ListRequestsRequest, context: Context) -> pb.RequestList:
        states = [str(state) for state in RequestState]
        if request.state and request.state not in states:
            await invalid(
                context, "state", f"there is no state {quoted(request.state)}; use one of: {', '.join(states)}"
            )
        limit = request.limit or LIST_LIMIT
        records = [r for r in self._dispatcher.requests() if request.state in ("", str(r.state))][-limit:]
        items = [messages.request_info(record, self._info.id) for record in records]
        if request.local:
            return pb.RequestList(items=items)
        theirs = pb.ListRequestsRequest(state=request.state, limit=limit, local=True)
        found, silent = await self._siblings.ask(
            context, lambda stub, s, metadata: stub.ListRequests(theirs, timeout=s, metadata=metadata)
        )
        if found:
            items = sorted([*items, *(i for reply in found.values() for i in reply.items)], key=lambda i: -i.age_s)
        return pb.RequestList(items=items[-limit:], silent_front_doors=silent)

    async def WatchRequests(self, request: pb.ListRequestsRequest, context: Context) -> AsyncIterator[pb.RequestList]:
        async for update in changes(lambda: self.ListRequests(request, context)):
            yield update

    async def DescribeRequest(self, request: pb.NameRequest, context: Context) -> pb.RequestDetail:
        for request_id in request_ids(request.name):
            if (record := self._dispatcher.find(request_id)) is not None:
                return messages.request_detail(record, self._info.id)
        silent: list[str] = []
        if not request.local:
            found, silent = await self._siblings.ask(
                context, lambda stub, s, metadata: _describe(stub, request.name, s, metadata)
            )
            for reply in found.values():
                if reply is not None:
                    return reply
        known = [r.request_id for r in self._dispatcher.requests()[-KNOWN:]]
        kind = f"request (asked in vain: {', '.join(silent)})" if silent else "request"
        await not_found(context, kind, request.name, known)

    async def CheckIntegrity(self, request: pb.ClusterIntegrityRequest, context: Context) -> pb.ClusterIntegrity:
        ledger = "ok"
        try:
            self._dispatcher.check_integrity()
        except AssertionError as error:
            ledger = str(error)
        if request.local:
            return pb.ClusterIntegrity(ok=ledger == "ok", ledger=ledger)
        local = pb.ClusterIntegrityRequest(local=True)
        endpoints = await asyncio.to_thread(self._store.list, "endpoint")
        (found, silent), workers = await asyncio.gather(
            self._siblings.ask(context, lambda stub, s, m: stub.CheckIntegrity(local, timeout=s, metadata=m)),
            check_workers(endpoints),
        )
        faults = [f"{name}: {reply.ledger}" for name, reply in found.items() if not reply.ok]
        faults += [f"{name}: no answer" for name in silent]
        if ledger != "ok":
            faults.insert(0, f"{self._info.id}: {ledger}" if found or silent else ledger)
        ok = not faults and all(worker.ok for worker in workers)
        return pb.ClusterIntegrity(ok=ok, workers=workers, ledger="; ".join(faults) or "ok")


async def _describe(stub: object, name: str, deadline_s: float, metadata: object) -> pb.RequestDetail | None:
    """The request, or None if that front door does not know it."""
    try:
        call = stub.DescribeRequest  # type: ignore[attr-defined]
        reply: pb.RequestDetail = await call(
            pb.NameRequest(name=name, local=True), timeout=deadline_s, metadata=metadata
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    return reply
