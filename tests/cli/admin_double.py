"""A double of the Admin and Router services: a real gRPC server over loopback that answers from lists in memory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from orchestrator.core.config import Cluster, dump
from pd.v1 import admin_pb2, admin_pb2_grpc, routing_pb2, routing_pb2_grpc, worker_pb2


def _workers() -> dict[str, admin_pb2.WorkerInfo]:
    rows = [
        admin_pb2.WorkerInfo(name="prefill-0", pool="prefill", role="prefill", state="ready", pid=101, node="laptop"),
        admin_pb2.WorkerInfo(
            name="decode-0", pool="decode", role="decode", state="ready", pid=102, running=3, age_s=75.0
        ),
        admin_pb2.WorkerInfo(name="decode-1", pool="decode", role="decode", state="starting", message="loading"),
    ]
    for row in rows[:2]:
        row.kv_total_blocks, row.kv_used_blocks, row.address = 400, 12, "127.0.0.1:9000"
    return {row.name: row for row in rows}


class AdminDouble(admin_pb2_grpc.AdminServicer, routing_pb2_grpc.RouterServicer):
    """Answers as a small healthy cluster does; tests change its fields to make it another one."""

    def __init__(self) -> None:
        self.workers = _workers()
        self.spec: dict[str, Any] = dump(Cluster())
        self.healthy = True
        self.answer = ["one ", "two ", "three"]
        self.asked: list[routing_pb2.GenerateRequest] = []
        self.drains: list[admin_pb2.DrainRequest] = []
        self.changed = threading.Event()
        self.finish_drains = True
        self.http_url = ""
        self.silent: list[str] = []
        self.applied: list[admin_pb2.ApplyRequest] = []
        self.changes: list[admin_pb2.Change] = []
        self.restarts: list[admin_pb2.RestartRequest] = []
        self.restart_ends: dict[str, str] = {}
        self.pools = [admin_pb2.PoolInfo(name="decode", role="decode", desired=2, ready=1)]
        self.looks_until_again = 2
        self.scales: list[admin_pb2.ScaleRequest] = []
        self.pulled_once = 0
        self.lists = 0
        self.policies = {"routing": ("prefix_aware", {"alpha": 0.5}), "admission": ("fcfs", {})}

    def _worker(self, name: str, context: grpc.ServicerContext) -> admin_pb2.WorkerInfo:
        if name not in self.workers:
            known = ", ".join(sorted(self.workers))
            context.abort(grpc.StatusCode.NOT_FOUND, f"no worker {name!r}; there are: {known}")
        return self.workers[name]

    def GetCluster(self, request: Any, context: Any) -> admin_pb2.ClusterInfo:
        return admin_pb2.ClusterInfo(
            name="test", model="demo", version="0.1.0", http_url=self.http_url, spec_json=json.dumps(self.spec)
        )

    def ListWorkers(self, request: Any, context: Any) -> admin_pb2.WorkerList:
        if self.pulled_once and self.lists == 1:
            self.workers["decode-0"].kv_bytes_pulled += self.pulled_once
            self.workers["decode-0"].kv_pulls += 1
        self.lists += 1
        rows = [w for w in self.workers.values() if request.pool in ("", w.pool) and request.role in ("", w.role)]
        return admin_pb2.WorkerList(items=rows)

    def WatchWorkers(self, request: Any, context: Any) -> Iterator[admin_pb2.WorkerList]:
        yield self.ListWorkers(request, context)
        self.workers["decode-1"].state = "ready"
        yield self.ListWorkers(request, context)

    def ListPools(self, request: Any, context: Any) -> admin_pb2.PoolList:
        return admin_pb2.PoolList(items=self.pools)

    def _request(self, request_id: str = "req-1") -> admin_pb2.RequestInfo:
        return admin_pb2.RequestInfo(
            request_id=request_id,
            state="finished",
            prompt_tokens=9,
            output_tokens=40,
            max_tokens=64,
            prefill_worker="prefill-0",
            decode_worker="decode-0",
            ttft_s=0.031,
            finish_reason="stop",
            age_s=12,
        )

    def ListRequests(self, request: Any, context: Any) -> admin_pb2.RequestList:
        queued = admin_pb2.RequestInfo(request_id="req-2", state="queued", prompt_tokens=5, max_tokens=16)
        rows = [r for r in (self._request(), queued) if request.state in ("", r.state)]
        return admin_pb2.RequestList(items=rows, silent_front_doors=self.silent)

    def DescribeRequest(self, request: Any, context: Any) -> admin_pb2.RequestDetail:
        if request.name not in ("req-1", "several"):
            context.abort(grpc.StatusCode.NOT_FOUND, f"no request {request.name!r}; the last 1000 are kept")
        stage = admin_pb2.Stage
        return admin_pb2.RequestDetail(
            request=self._request("req-1" if request.name == "req-1" else f"{request.name}-0"),
            arrived_at=time.time() - 12,
            kv_bytes=65536,
            stages=[
                stage(name="queued", started_s=0.0, seconds=0.001),
                stage(name="prefilling", worker="prefill-0", started_s=0.001, seconds=0.03, reason="least_load"),
                stage(name="transferring", worker="decode-0", started_s=0.031, seconds=0.002, reason="prefix_miss"),
                stage(name="decoding", worker="decode-0", started_s=0.033, seconds=0.4),
            ],
        )

    def DescribeWorker(self, request: Any, context: Any) -> admin_pb2.WorkerDetail:
        description = worker_pb2.WorkerDescription(engine="torch", dtype="float32", block_tokens=16, block_bytes=65536)
        event = admin_pb2.Event(sequence=1, at=time.time() - 60, kind="worker", object=request.name, reason="Started")
        events = [event]
        if any(r.worker == request.name for r in self.restarts):
            events.append(admin_pb2.Event(sequence=2, reason="RestartGivenUp", message="still busy after 60 s"))
        description.kv_layout, description.versions["torch"] = "block, layer", "2.13"
        worker = self._worker(request.name, context)
        if worker.restarting:
            self._go_on(worker)
        return admin_pb2.WorkerDetail(worker=worker, description=description, events=events)

    def _go_on(self, worker: admin_pb2.WorkerInfo) -> None:
        """The next step of a restart: draining, then starting, then what `restart_ends` says."""
        self.looks_until_again -= 1
        end = self.restart_ends.get(worker.name, "ready")
        if worker.state == "draining" and self.looks_until_again <= 0:
            if end == "given up":
                worker.state, worker.restarting = "ready", False
            else:
                worker.state, worker.incarnation, worker.running = "starting", worker.incarnation + 1, 0
        elif worker.state == "starting":
            worker.state, worker.restarting = end, end == "dead"
            worker.restarts += end == "dead"
            worker.message = "exit code 1" if end == "dead" else ""

    def Restart(self, request: Any, context: Any) -> admin_pb2.WorkerInfo:
        worker = self._worker(request.worker, context)
        self.restarts.append(request)
        if request.cancel:
            if worker.state == "draining":
                worker.state, worker.restarting = "ready", False
        else:
            worker.state, worker.restarting, self.looks_until_again = "draining", True, 2
        return worker

    def Scale(self, request: Any, context: Any) -> admin_pb2.PoolInfo:
        if request.pool != "decode":
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no pool {request.pool!r}; use one of: decode, prefill")
        self.scales.append(request)
        for index in range(request.count):
            name = f"decode-{index}"
            self.workers[name] = admin_pb2.WorkerInfo(name=name, pool="decode", role="decode", state="ready")
        return admin_pb2.PoolInfo(name="decode", role="decode", desired=request.count, ready=1)

    def Apply(self, request: Any, context: Any) -> admin_pb2.ApplyReply:
        self.applied.append(request)
        return admin_pb2.ApplyReply(changes=self.changes, applied=not request.dry_run)

    def Logs(self, request: Any, context: Any) -> Iterator[admin_pb2.LogChunk]:
        if request.name != "decode-0":
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no log {request.name!r}; use one of: decode-0")
        yield admin_pb2.LogChunk(data=f"the last {request.tail}\n".encode())
        if request.follow:
            yield admin_pb2.LogChunk(data=b"and more\n")

    def WatchEvents(self, request: Any, context: Any) -> Iterator[admin_pb2.EventList]:
        yield self.ListEvents(request, context)
        event = admin_pb2.Event(sequence=3, at=time.time(), kind="worker", object="decode-0", reason="Drained")
        yield admin_pb2.EventList(items=[event])

    def Drain(self, request: Any, context: Any) -> admin_pb2.WorkerInfo:
        worker = self._worker(request.worker, context)
        self.drains.append(request)
        worker.state = "ready" if request.resume else "draining"
        answer = admin_pb2.WorkerInfo()
        answer.CopyFrom(worker)
        if self.finish_drains and not request.resume:
            worker.state, worker.running = "drained", 0
        return answer

    def SetRole(self, request: Any, context: Any) -> admin_pb2.WorkerInfo:
        worker = self._worker(request.worker, context)
        worker.role = request.role
        return worker

    def _policy(self, decision: str) -> admin_pb2.PolicyInfo:
        name, parameters = self.policies[decision]
        choices = [admin_pb2.PolicyChoice(name=n) for n in ("round_robin", "least_load", "prefix_aware")]
        return admin_pb2.PolicyInfo(
            decision=decision, name=name, parameters_json=json.dumps(parameters), available=choices
        )

    def ListPolicies(self, request: Any, context: Any) -> admin_pb2.PolicyList:
        return admin_pb2.PolicyList(items=[self._policy(d) for d in self.policies])

    def SetPolicy(self, request: Any, context: Any) -> admin_pb2.PolicyInfo:
        if request.name not in ("round_robin", "least_load", "prefix_aware"):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"no {request.decision} policy {request.name!r}; use one of: round_robin, least_load, prefix_aware",
            )
        self.policies[request.decision] = (request.name, json.loads(request.parameters_json))
        return self._policy(request.decision)

    def ListEvents(self, request: Any, context: Any) -> admin_pb2.EventList:
        events = [
            admin_pb2.Event(sequence=1, at=time.time() - 60, kind="worker", object="decode-0", reason="Started"),
            admin_pb2.Event(sequence=2, at=time.time(), kind="controller", object="main", reason="Reconciled"),
        ]
        return admin_pb2.EventList(
            items=[e for e in events if e.sequence > request.after and request.object in ("", e.object)]
        )

    def CheckIntegrity(self, request: Any, context: Any) -> admin_pb2.ClusterIntegrity:
        rows = [admin_pb2.WorkerIntegrity(worker=name, ok=True) for name in self.workers]
        if not self.healthy:
            rows[1].ok, rows[1].message = False, "block 7 has 2 owners"
        return admin_pb2.ClusterIntegrity(ok=self.healthy, workers=rows, ledger="ok")

    def Generate(self, request: Any, context: Any) -> Iterator[routing_pb2.GenerateReply]:
        self.asked.append(request)
        for index, text in enumerate(self.answer):
            yield routing_pb2.GenerateReply(request_id="req-9", first_index=index, token_ids=[index], text=text)
        usage = routing_pb2.Usage(prompt_tokens=4, completion_tokens=len(self.answer))
        yield routing_pb2.GenerateReply(request_id="req-9", finish_reason="stop", usage=usage)


class AdminServer:
    """The double behind a port of this machine."""

    def __init__(self) -> None:
        self.double = AdminDouble()
        self._server = grpc.server(ThreadPoolExecutor(8))
        admin_pb2_grpc.add_AdminServicer_to_server(self.double, self._server)
        routing_pb2_grpc.add_RouterServicer_to_server(self.double, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Close the port and end its threads."""
        self._server.stop(0).wait()
