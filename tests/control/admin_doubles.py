"""Doubles of a dispatcher and its links, and an Admin service over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from orchestrator.core.config import Cluster, dump
from orchestrator.frontend.admin import AdminServicer, FrontDoorInfo
from orchestrator.frontend.records import RequestRecord
from orchestrator.state import Store, open_store
from pd.v1 import admin_pb2_grpc
from pd.v1 import worker_pb2 as worker_pb


@dataclass
class LinkDouble:
    name: str
    address: str = "127.0.0.1:1"
    incarnation: int = 7
    connected: bool = True
    description: worker_pb.WorkerDescription = field(
        default_factory=lambda: worker_pb.WorkerDescription(model="demo", transport_metadata=b"secret")
    )
    status: worker_pb.WorkerStatus | None = field(
        default_factory=lambda: worker_pb.WorkerStatus(running=3, kv_used_blocks=5, kv_total_blocks=9)
    )


@dataclass
class DispatcherDouble:
    workers: dict[str, LinkDouble] = field(default_factory=dict)
    records: list[RequestRecord] = field(default_factory=list)
    fault: str = ""

    def requests(self) -> list[RequestRecord]:
        return self.records

    def find(self, request_id: str) -> RequestRecord | None:
        return next((r for r in self.records if r.request_id == request_id), None)

    def check_integrity(self) -> None:
        if self.fault:
            raise AssertionError(self.fault)


@dataclass
class Served:
    store: Store
    dispatcher: DispatcherDouble
    admin: Any
    info: FrontDoorInfo


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Served]:
    store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    store.put("cluster", "spec", dump(Cluster()))
    store.put("controller", "main", {"pid": 42, "started_at": 1.0, "restarts": 0})
    for pool, index in (("prefill", 0), ("decode", 0), ("decode", 1)):
        name = f"{pool}-{index}"
        desired = {"name": name, "pool": pool, "role": pool, "index": index, "drain": None, "drained": False}
        store.put("worker", name, desired)
    for name, state in (("prefill-0", "ready"), ("decode-0", "dead")):
        endpoint = {"name": name, "address": "127.0.0.1:1", "pid": 11, "incarnation": 7, "node": "here", "state": state}
        store.put("endpoint", name, endpoint | {"restarts": 2, "message": "", "started_at": 5.0, "host_pid": 10})
    record = RequestRecord("r-1", "demo", "default", 10, 20, 0.0, prefill_worker="prefill-0")
    record.begin("queue", reason="arrival_order")
    dispatcher = DispatcherDouble({"prefill-0": LinkDouble("prefill-0")}, [record])
    server = grpc.aio.server()
    info = FrontDoorInfo("front-door-0", "127.0.0.1", 8000, 1.0, 8001)
    admin_pb2_grpc.add_AdminServicer_to_server(AdminServicer(store, dispatcher, info), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        yield Served(store, dispatcher, admin_pb2_grpc.AdminStub(channel), info)
    await server.stop(None)
    store.close()


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""
