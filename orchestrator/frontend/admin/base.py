"""What every part of the Admin service reads."""

from __future__ import annotations

import asyncio

from orchestrator.frontend.admin import messages
from orchestrator.frontend.admin.apply import Ports
from orchestrator.frontend.admin.changes import Changes
from orchestrator.frontend.admin.errors import Context, not_found
from orchestrator.frontend.admin.seams import FrontDoorInfo, RequestSource
from orchestrator.state import Document, Store
from pd.v1 import admin_pb2 as pb
from pd.v1 import admin_pb2_grpc


class AdminBase(admin_pb2_grpc.AdminServicer):
    """The store (what is wanted, what hosts say) and the dispatcher (what workers push, what requests do)."""

    def __init__(self, store: Store, dispatcher: RequestSource, info: FrontDoorInfo) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._info = info
        self._changes = Changes(store)

    @property
    def _ports(self) -> Ports:
        return Ports(self._info.http_port, self._info.grpc_port)

    async def _spec(self) -> Document:
        spec = await asyncio.to_thread(self._store.get, "cluster", "spec")
        assert spec is not None, "a front door starts only where the store holds cluster/spec"
        return spec

    async def _workers(self) -> list[pb.WorkerInfo]:
        desired = await asyncio.to_thread(self._store.list, "worker")
        endpoints = await asyncio.to_thread(self._store.list, "endpoint")
        links = self._dispatcher.workers
        order = sorted(desired.values(), key=lambda worker: (worker["pool"], worker["index"]))
        return [messages.worker_info(w, endpoints.get(w["name"]), links.get(w["name"])) for w in order]

    async def _worker(self, name: str, context: Context) -> pb.WorkerInfo:
        workers = {worker.name: worker for worker in await self._workers()}
        if name not in workers:
            await not_found(context, "worker", name, workers)
        return workers[name]
