"""The Admin service over a real store and gRPC, with a double of the dispatcher."""

from __future__ import annotations

import json

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from orchestrator.core.config import Cluster, dump
from orchestrator.core.request import RequestState
from orchestrator.frontend.records import RequestRecord
from pd.v1 import admin_pb2 as pb
from tests.control.admin_doubles import Served, refused


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


@pytest.mark.parametrize("name", ["r-1", "chatcmpl-r-1", "cmpl-r-1", "resp_r-1"])
async def test_requests_are_found_by_the_id_of_their_answer(served: Served, name: str) -> None:
    detail = await served.admin.DescribeRequest(pb.NameRequest(name=name))
    assert detail.request.request_id == "r-1"


@pytest.mark.parametrize("name", ["two", "chatcmpl-two", "two-0"])
async def test_of_several_answers_the_first_is_described(served: Served, name: str) -> None:
    served.dispatcher.records += [record_of("two-1"), record_of("two-0")]
    detail = await served.admin.DescribeRequest(pb.NameRequest(name=name))
    assert detail.request.request_id == "two-0"


async def test_an_id_of_the_clients_own_goes_before_what_it_may_stand_for(served: Served) -> None:
    served.dispatcher.records += [record_of("chatcmpl-r-1"), record_of("r-1-0")]
    for name in ("chatcmpl-r-1", "r-1"):
        assert (await served.admin.DescribeRequest(pb.NameRequest(name=name))).request.request_id == name


async def test_an_unknown_request_is_answered_with_the_last_few(served: Served) -> None:
    served.dispatcher.records += [record_of(f"q{i}") for i in range(9)]
    _, message = await refused(served.admin.DescribeRequest(pb.NameRequest(name="nothing-like-it")))
    assert message.endswith("use one of: q4, q5, q6, q7, q8")


def record_of(request_id: str) -> RequestRecord:
    return RequestRecord(request_id, "demo", "default", 10, 20, 0.0)
