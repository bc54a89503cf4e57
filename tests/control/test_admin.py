"""The Admin service over a real store and gRPC, with a double of the dispatcher."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from orchestrator.core.config import Cluster, dump
from orchestrator.core.request import RequestState
from orchestrator.frontend.admin import AdminServicer, FrontDoorInfo
from orchestrator.frontend.records import RequestRecord
from orchestrator.state import Store, open_store
from pd.v1 import admin_pb2 as pb
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


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
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
        yield Served(store, dispatcher, admin_pb2_grpc.AdminStub(channel))
    await server.stop(None)
    store.close()


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_workers_join_desired_observed_and_pushed_state(served: Served) -> None:
    workers = (await served.admin.ListWorkers(pb.ListWorkersRequest())).items
    assert [(w.name, w.state, w.running, w.pid) for w in workers] == [
        ("decode-0", "dead", 0, 0),
        ("decode-1", "starting", 0, 0),
        ("prefill-0", "ready", 3, 11),
    ]
    only = await served.admin.ListWorkers(pb.ListWorkersRequest(pool="decode", role="decode"))
    assert [w.name for w in only.items] == ["decode-0", "decode-1"]
    code, message = await refused(served.admin.ListWorkers(pb.ListWorkersRequest(role="decoder")))
    assert (code, "use prefill, decode or both" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    code, message = await refused(served.admin.ListWorkers(pb.ListWorkersRequest(pool="decod")))
    assert (code, "decode" in message) == (grpc.StatusCode.NOT_FOUND, True)


async def test_load_of_an_earlier_incarnation_is_not_shown(served: Served) -> None:
    served.dispatcher.workers["prefill-0"].incarnation = 6
    detail = await served.admin.DescribeWorker(pb.NameRequest(name="prefill-0"))
    assert (detail.worker.running, detail.description.model) == (0, "")


async def test_cluster_and_pools(served: Served) -> None:
    cluster = await served.admin.GetCluster(pb.GetClusterRequest())
    assert (cluster.name, cluster.model, cluster.controller_pid) == ("tandem", "demo", 42)
    assert (cluster.workers_ready, cluster.workers_total) == (1, 3)
    assert json.loads(cluster.spec_json) == dump(Cluster())
    pools = (await served.admin.ListPools(pb.ListPoolsRequest())).items
    assert [(p.name, p.desired, p.ready) for p in pools] == [("prefill", 1, 1), ("decode", 2, 0)]


async def test_watch_sends_the_list_first_and_then_changes_only(served: Served) -> None:
    watch = served.admin.WatchWorkers(pb.ListWorkersRequest(role="prefill"), timeout=20)
    assert (await watch.read()).items[0].state == "ready"
    await served.admin.Drain(pb.DrainRequest(worker="prefill-0", budget_s=9))
    assert (await watch.read()).items[0].state == "draining"
    watch.cancel()


async def test_drain_and_resume_write_desired_state(served: Served) -> None:
    info = await served.admin.Drain(pb.DrainRequest(worker="prefill-0", budget_s=9))
    assert info.state == "draining"
    document = served.store.get("worker", "prefill-0")
    assert document is not None and document["drain"]["budget_s"] == 9
    served.store.put("worker", "prefill-0", document | {"drained": True})
    assert (await served.admin.Drain(pb.DrainRequest(worker="prefill-0"))).state == "drained"
    assert (await served.admin.Drain(pb.DrainRequest(worker="prefill-0", resume=True))).state == "ready"
    assert [e.reason for e in (await served.admin.ListEvents(pb.ListEventsRequest())).items] == [
        "DrainRequested",
        "DrainResumed",
    ]
    await served.admin.Drain(pb.DrainRequest(worker="decode-1"))
    document = served.store.get("worker", "decode-1")
    assert document is not None and document["drain"]["budget_s"] == Cluster().spec.drain.budget_s
    code, _ = await refused(served.admin.Drain(pb.DrainRequest(worker="decode-1", budget_s=-1)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_unknown_names_are_answered_with_what_exists(served: Served) -> None:
    for call in (
        served.admin.Drain(pb.DrainRequest(worker="decode-9", budget_s=1)),
        served.admin.SetRole(pb.SetRoleRequest(worker="decode-9", role="both")),
        served.admin.DescribeWorker(pb.NameRequest(name="decode-9")),
    ):
        code, message = await refused(call)
        assert code is grpc.StatusCode.NOT_FOUND
        assert "did you mean 'decode-" in message and "prefill-0" in message
    assert "decode-9" not in served.store.list("worker")
    code, message = await refused(served.admin.DescribeRequest(pb.NameRequest(name="r-2")))
    assert (code, "did you mean 'r-1'" in message) == (grpc.StatusCode.NOT_FOUND, True)


async def test_errors_carry_rich_details(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.admin.SetRole(pb.SetRoleRequest(worker="decode-0", role="dancer"))
    bad = error_details_pb2.BadRequest()
    status = rpc_status.from_call(caught.value)
    assert status is not None and status.details[0].Unpack(bad)
    assert bad.field_violations[0].field == "role"


async def test_role_changes_in_the_store(served: Served) -> None:
    assert (await served.admin.SetRole(pb.SetRoleRequest(worker="decode-0", role="both"))).role == "both"
    assert (served.store.get("worker", "decode-0") or {})["role"] == "both"


async def test_policies_are_listed_and_chosen(served: Served) -> None:
    policies = {p.decision: p for p in (await served.admin.ListPolicies(pb.ListPoliciesRequest())).items}
    assert policies["routing"].name == "prefix_aware"
    assert {c.name for c in policies["routing"].available} >= {"round_robin", "least_load", "prefix_aware"}
    chosen = await served.admin.SetPolicy(pb.SetPolicyRequest(decision="routing", name="round_robin"))
    assert chosen.name == "round_robin"
    assert served.store.get("policy", "routing") == {"name": "round_robin", "parameters": {}}


@pytest.mark.parametrize(
    ("decision", "name", "parameters", "words"),
    [
        ("rooting", "round_robin", "", "did you mean 'routing'"),
        ("routing", "round_robbin", "", "did you mean 'round_robin'"),
        ("routing", "round_robin", '{"nope": 1}', "nope"),
        ("routing", "round_robin", "{", "no JSON"),
        ("routing", "round_robin", "[]", "no JSON object"),
    ],
)
async def test_bad_policies_change_nothing(
    served: Served, decision: str, name: str, parameters: str, words: str
) -> None:
    request = pb.SetPolicyRequest(decision=decision, name=name, parameters_json=parameters)
    code, message = await refused(served.admin.SetPolicy(request))
    assert (code, words in message) == (grpc.StatusCode.INVALID_ARGUMENT, True), message
    assert served.store.list("policy") == {}


async def test_requests_with_their_stages(served: Served) -> None:
    served.dispatcher.records[0].enter(RequestState.PREFILLING)
    running = await served.admin.ListRequests(pb.ListRequestsRequest(state="prefilling"))
    assert [r.request_id for r in running.items] == ["r-1"]
    assert not (await served.admin.ListRequests(pb.ListRequestsRequest(state="queued"))).items
    assert (await refused(served.admin.ListRequests(pb.ListRequestsRequest(state="lost"))))[0] is (
        grpc.StatusCode.INVALID_ARGUMENT
    )
    detail = await served.admin.DescribeRequest(pb.NameRequest(name="r-1"))
    assert [(s.name, s.reason) for s in detail.stages] == [("queue", "arrival_order")]


async def test_integrity_names_what_is_wrong(served: Served) -> None:
    served.dispatcher.fault = "the ledger counts r-9"
    report = await served.admin.CheckIntegrity(pb.ClusterIntegrityRequest())
    assert (report.ok, report.ledger) == (False, "the ledger counts r-9")
    assert {w.worker: w.ok for w in report.workers} == {"decode-0": False, "prefill-0": False}
    assert next(w.message for w in report.workers if w.worker == "decode-0") == "not ready: dead"
