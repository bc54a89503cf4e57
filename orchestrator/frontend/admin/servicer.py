"""`Admin`: everything that pdctl needs of a front door."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from importlib import metadata

from orchestrator.core.cluster import WorkerState
from orchestrator.core.config import parse
from orchestrator.frontend.admin import messages
from orchestrator.frontend.admin.apply import in_force
from orchestrator.frontend.admin.errors import Context, not_found
from orchestrator.frontend.admin.journal import Journal
from orchestrator.frontend.admin.operations import Operations
from orchestrator.frontend.admin.requests import Requests
from orchestrator.frontend.admin.watch import changes
from orchestrator.policies import registry
from pd.v1 import admin_pb2 as pb

DESCRIBED_EVENTS = 20


class AdminServicer(Operations, Requests, Journal):
    """Workers, pools and policies here; what changes them, requests, and events and logs in the classes it stands on."""

    async def GetCluster(self, request: pb.GetClusterRequest, context: Context) -> pb.ClusterInfo:
        spec = await self._spec()
        policies = await asyncio.to_thread(self._store.list, "policy")
        controller = await asyncio.to_thread(self._store.get, "controller", "main") or {}
        workers = await self._workers()
        host = f"[{self._info.host}]" if ":" in self._info.host else self._info.host
        return pb.ClusterInfo(
            name=spec["metadata"]["name"],
            model=parse(spec).spec.model.served_name,
            version=metadata.version("tandem"),
            http_url=f"http{'s' if self._info.tls else ''}://{host}:{self._info.http_port}",
            grpc_address=f"{host}:{self._info.grpc_port}",
            front_door_pid=os.getpid(),
            controller_pid=controller.get("pid", 0),
            started_at=self._info.started_at,
            spec_json=json.dumps(in_force(spec, policies, self._ports)),
            workers_ready=sum(worker.state == WorkerState.READY for worker in workers),
            workers_total=len(workers),
        )

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.WorkerList:
        if request.role:
            await self._role(request.role, context)
        pools = [pool["name"] for pool in (await self._spec())["spec"]["pools"]]
        if request.pool and request.pool not in pools:
            await not_found(context, "pool", request.pool, pools)
        items = [
            worker
            for worker in await self._workers()
            if request.pool in ("", worker.pool) and request.role in ("", worker.role)
        ]
        return pb.WorkerList(items=items)

    async def WatchWorkers(self, request: pb.ListWorkersRequest, context: Context) -> AsyncIterator[pb.WorkerList]:
        async for update in changes(lambda: self.ListWorkers(request, context)):
            yield update

    async def ListPools(self, request: pb.ListPoolsRequest, context: Context) -> pb.PoolList:
        spec, workers = await self._spec(), await self._workers()
        return pb.PoolList(items=[messages.pool_info(pool, workers) for pool in spec["spec"]["pools"]])

    async def WatchPools(self, request: pb.ListPoolsRequest, context: Context) -> AsyncIterator[pb.PoolList]:
        async for update in changes(lambda: self.ListPools(request, context)):
            yield update

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.PolicyList:
        documents = await asyncio.to_thread(self._store.list, "policy")
        configured = (await self._spec())["spec"]["policies"]
        items = [
            messages.policy_info(d, documents.get(d) or configured[d], registry.available(d))
            for d in registry.DECISIONS
        ]
        return pb.PolicyList(items=items)

    async def DescribeWorker(self, request: pb.NameRequest, context: Context) -> pb.WorkerDetail:
        worker = await self._worker(request.name, context)
        link = self._dispatcher.workers.get(request.name)
        events = await self._events(lambda e: e["kind"] == "worker" and e["object"] == request.name)
        detail = pb.WorkerDetail(worker=worker, events=events[-DESCRIBED_EVENTS:])
        if link is not None and link.incarnation == worker.incarnation:
            detail.description.CopyFrom(link.description)
            detail.description.ClearField("transport_metadata")
            if link.status is not None:
                detail.description.status.CopyFrom(link.status)
        return detail
