"""`Admin` over the store (what is wanted, what hosts say) and the dispatcher (what workers push, what requests do)."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator, Callable
from importlib import metadata

from orchestrator.core.cluster import Role, WorkerState
from orchestrator.core.config import parse
from orchestrator.core.request import RequestState
from orchestrator.frontend.admin import messages
from orchestrator.frontend.admin.changes import Changes
from orchestrator.frontend.admin.errors import Context, invalid, not_found
from orchestrator.frontend.admin.integrity import check_workers
from orchestrator.frontend.admin.seams import FrontDoorInfo, RequestSource
from orchestrator.frontend.admin.watch import changes
from orchestrator.policies import registry
from orchestrator.state import Document, Store
from pd.v1 import admin_pb2 as pb
from pd.v1 import admin_pb2_grpc

LIST_LIMIT = 100
EVENT_LIMIT = 10_000
DESCRIBED_EVENTS = 20


class AdminServicer(admin_pb2_grpc.AdminServicer):
    """Requests are those of this front door; workers, pools, policies and events are the cluster's."""

    def __init__(self, store: Store, dispatcher: RequestSource, info: FrontDoorInfo) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._info = info
        self._changes = Changes(store)

    async def GetCluster(self, request: pb.GetClusterRequest, context: Context) -> pb.ClusterInfo:
        spec = await self._spec()
        controller = await asyncio.to_thread(self._store.get, "controller", "main") or {}
        workers = await self._workers()
        host = f"[{self._info.host}]" if ":" in self._info.host else self._info.host
        return pb.ClusterInfo(
            name=spec["metadata"]["name"],
            model=parse(spec).spec.model.served_name,
            version=metadata.version("tandem"),
            http_url=f"http://{host}:{self._info.http_port}",
            grpc_address=f"{host}:{self._info.grpc_port}",
            front_door_pid=os.getpid(),
            controller_pid=controller.get("pid", 0),
            started_at=self._info.started_at,
            spec_json=json.dumps(spec),
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

    async def ListRequests(self, request: pb.ListRequestsRequest, context: Context) -> pb.RequestList:
        states = [str(state) for state in RequestState]
        if request.state and request.state not in states:
            await invalid(context, "state", f"there is no state {request.state!r}; use one of: {', '.join(states)}")
        records = [r for r in self._dispatcher.requests() if request.state in ("", str(r.state))]
        return pb.RequestList(items=[messages.request_info(r) for r in records[-(request.limit or LIST_LIMIT) :]])

    async def WatchRequests(self, request: pb.ListRequestsRequest, context: Context) -> AsyncIterator[pb.RequestList]:
        async for update in changes(lambda: self.ListRequests(request, context)):
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

    async def DescribeRequest(self, request: pb.NameRequest, context: Context) -> pb.RequestDetail:
        record = self._dispatcher.find(request.name)
        if record is None:
            await not_found(context, "request", request.name, (r.request_id for r in self._dispatcher.requests()))
        return messages.request_detail(record)

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.WorkerInfo:
        if not math.isfinite(request.budget_s) or request.budget_s < 0:
            await invalid(context, "budget_s", f"a budget of {request.budget_s} s is no time; give 0 or more seconds")
        if request.resume:
            await asyncio.to_thread(self._changes.resume, request.worker)
        else:
            budget_s = request.budget_s or parse(await self._spec()).spec.drain.budget_s
            await asyncio.to_thread(self._changes.drain, request.worker, budget_s)
        return await self._worker(request.worker, context)

    async def SetRole(self, request: pb.SetRoleRequest, context: Context) -> pb.WorkerInfo:
        role = await self._role(request.role, context)
        await asyncio.to_thread(self._changes.set_role, request.worker, role)
        return await self._worker(request.worker, context)

    async def SetPolicy(self, request: pb.SetPolicyRequest, context: Context) -> pb.PolicyInfo:
        try:
            parameters = json.loads(request.parameters_json or "{}")
        except ValueError as error:
            await invalid(context, "parameters_json", f"it is no JSON ({error}); give an object such as {{}}")
        if not isinstance(parameters, dict):
            await invalid(context, "parameters_json", 'it is no JSON object; give one such as {"alpha": 0.5}')
        try:
            available = registry.available(request.decision)
            call = self._changes.set_policy
            document = await asyncio.to_thread(call, request.decision, request.name, parameters)
        except ValueError as error:
            await invalid(context, "name", str(error))
        return messages.policy_info(request.decision, document, available)

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.EventList:
        events = await self._events(lambda e: request.object in ("", e["object"]), request.after)
        limit = request.limit or LIST_LIMIT
        # Whoever follows the log wants what comes next; whoever looks at it for the first time, the latest.
        return pb.EventList(items=events[:limit] if request.after else events[-limit:])

    async def CheckIntegrity(self, request: pb.ClusterIntegrityRequest, context: Context) -> pb.ClusterIntegrity:
        workers = await check_workers(await asyncio.to_thread(self._store.list, "endpoint"))
        ledger = "ok"
        try:
            self._dispatcher.check_integrity()
        except AssertionError as error:
            ledger = str(error)
        ok = ledger == "ok" and all(worker.ok for worker in workers)
        return pb.ClusterIntegrity(ok=ok, workers=workers, ledger=ledger)

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

    async def _role(self, text: str, context: Context) -> Role:
        try:
            return Role.parse(text)
        except ValueError as error:
            await invalid(context, "role", str(error))

    async def _events(self, wanted: Callable[[Document], bool], after: int = 0) -> list[pb.Event]:
        events = await asyncio.to_thread(self._store.events, after, EVENT_LIMIT)
        return [messages.event_message(sequence, event) for sequence, event in events if wanted(event)]
