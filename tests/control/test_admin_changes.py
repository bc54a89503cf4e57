"""The Admin calls that change a cluster, over a real store and gRPC."""

from __future__ import annotations

import copy
import json
from typing import Any

import grpc
import pytest

from orchestrator.core.config import Cluster, dump
from orchestrator.state.restarts import undone
from pd.v1 import admin_pb2 as pb
from tests.control.admin_doubles import Served, refused


def spec(**changes: Any) -> dict[str, Any]:
    """The embedded default with other sections."""
    document = copy.deepcopy(dump(Cluster()))
    document["spec"].update(changes)
    return document


POOLS = [{"name": "prefill", "role": "prefill", "count": 1}, {"name": "decode", "role": "decode", "count": 4}]


async def apply(served: Served, document: dict[str, Any], dry_run: bool = False) -> pb.ApplyReply:
    request = pb.ApplyRequest(spec_json=json.dumps(document), dry_run=dry_run)
    reply: pb.ApplyReply = await served.admin.Apply(request)
    return reply


async def test_what_is_in_force_changes_nothing(served: Served) -> None:
    reply = await apply(served, dump(Cluster()))
    assert (list(reply.changes), reply.applied) == ([], True)
    in_force = json.loads((await served.admin.GetCluster(pb.GetClusterRequest())).spec_json)
    assert not (await apply(served, in_force)).changes


async def test_dry_run_shows_and_writes_nothing(served: Served) -> None:
    before = served.store.revision()
    reply = await apply(served, spec(pools=POOLS), dry_run=True)
    assert [(c.path, c.old_json, c.new_json, c.effect) for c in reply.changes] == [
        ("spec.pools.decode.count", "2", "4", "scale")
    ]
    assert (reply.applied, served.store.revision()) == (False, before)


async def test_counts_policies_roles_and_budgets_are_written(served: Served) -> None:
    policies = dump(Cluster())["spec"]["policies"] | {"routing": {"name": "round_robin", "parameters": {}}}
    pools = [POOLS[0] | {"role": "both"}, POOLS[1]]
    reply = await apply(served, spec(pools=pools, policies=policies, drain={"budgetS": 7.0}))
    assert reply.applied and {c.path for c in reply.changes} == {
        "spec.pools.prefill.role",
        "spec.pools.decode.count",
        "spec.policies.routing",
        "spec.drain.budgetS",
    }
    stored = served.store.get("cluster", "spec") or {}
    assert stored["spec"]["pools"][1]["count"] == 4 and stored["spec"]["drain"]["budgetS"] == 7.0
    assert served.store.get("policy", "routing") == {"name": "round_robin", "parameters": {}}
    assert served.store.get("policy", "admission") is None
    assert (served.store.get("worker", "prefill-0") or {})["role"] == "both"
    events = [e.reason for e in (await served.admin.ListEvents(pb.ListEventsRequest())).items]
    assert "SpecApplied" in events


async def test_policy_chosen_since_the_start_is_in_force(served: Served) -> None:
    await served.admin.SetPolicy(pb.SetPolicyRequest(decision="routing", name="round_robin"))
    in_force = json.loads((await served.admin.GetCluster(pb.GetClusterRequest())).spec_json)
    assert in_force["spec"]["policies"]["routing"]["name"] == "round_robin"
    assert not (await apply(served, in_force)).changes
    assert [c.path for c in (await apply(served, dump(Cluster()))).changes] == ["spec.policies.routing"]
    assert (served.store.get("policy", "routing") or {})["name"] == "prefix_aware"


@pytest.mark.parametrize(
    ("section", "value", "path"),
    [
        ("model", {"maxLen": 64}, "spec.model.maxLen"),
        ("engine", {"blockTokens": 32}, "spec.engine.blockTokens"),
        ("state", {"path": "/tmp/elsewhere.db"}, "spec.state.path"),
        ("frontDoor", {"httpPort": 9999}, "spec.frontDoor.httpPort"),
        ("ray", {"address": "auto"}, "spec.ray.address"),
    ],
)
async def test_what_needs_a_new_start_is_refused_whole(
    served: Served,
    section: str,
    value: dict[str, Any],
    path: str,
) -> None:
    document = spec(pools=POOLS)
    document["spec"][section] = document["spec"][section] | value
    before = served.store.revision()
    shown = {c.path: c for c in (await apply(served, document, dry_run=True)).changes}
    assert shown[path].effect == "refused" and "pdctl up" in shown[path].note
    code, message = await refused(apply(served, document))
    assert (code, path in message) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert served.store.revision() == before


async def test_ports_that_were_free_and_ports_that_were_asked_for_are_no_change(served: Served) -> None:
    free = spec()
    free["spec"]["frontDoor"] |= {"httpPort": 0, "grpcPort": 0}
    served.store.put("cluster", "spec", free)
    in_force = json.loads((await served.admin.GetCluster(pb.GetClusterRequest())).spec_json)
    assert (in_force["spec"]["frontDoor"]["httpPort"], in_force["spec"]["frontDoor"]["grpcPort"]) == (8000, 8001)
    for document in (free, in_force):
        assert not (await apply(served, document)).changes
    await apply(served, in_force | {"spec": in_force["spec"] | {"pools": POOLS}})
    stored = served.store.get("cluster", "spec") or {}
    assert stored["spec"]["frontDoor"]["httpPort"] == 0 and len(stored["spec"]["pools"]) == 2


async def test_engine_settings_hold_after_a_restart(served: Served) -> None:
    document = spec()
    document["spec"]["engine"]["maxBatch"] = 9
    (change,) = (await apply(served, document)).changes
    assert (change.effect, "pdctl restart all" in change.note) == ("restart", True)
    assert (served.store.get("cluster", "spec") or {})["spec"]["engine"]["maxBatch"] == 9


async def test_pools_come_and_go(served: Served) -> None:
    more = [*POOLS, {"name": "more.decode", "role": "decode", "count": 3}]
    changes = {c.path: c for c in (await apply(served, spec(pools=more))).changes}
    assert (changes["spec.pools.more.decode"].effect, changes["spec.pools.more.decode"].old_json) == ("scale", "")
    more[2]["resources"] = {"cpus": 2.0}
    (resources,) = (await apply(served, spec(pools=more))).changes
    assert (resources.path, resources.effect) == ("spec.pools.more.decode.resources.cpus", "restart")
    assert "pdctl restart pool more.decode" in resources.note
    (gone,) = (await apply(served, spec(pools=POOLS))).changes
    assert (gone.path, gone.new_json) == ("spec.pools.more.decode", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid YAML"),
        ('{"apiVersion": "pd/v1", "kind": "Cluster", "spec": {"pools": []}}', "at least one item"),
        ('{"apiVersion": "pd/v1", "kind": "Cluster", "spec": {"policies": {"routing": "nope"}}}', "nope"),
        ("x" * (1 << 21), "larger than"),
    ],
)
async def test_bad_specs_are_refused_with_the_reason(served: Served, text: str, words: str) -> None:
    code, message = await refused(served.admin.Apply(pb.ApplyRequest(spec_json=text)))
    assert (code, words in message) == (grpc.StatusCode.INVALID_ARGUMENT, True), message


async def test_scale_writes_the_spec(served: Served) -> None:
    pool = await served.admin.Scale(pb.ScaleRequest(pool="decode", count=5))
    assert (pool.desired, pool.ready) == (5, 0)
    assert (served.store.get("cluster", "spec") or {})["spec"]["pools"][1]["count"] == 5
    assert [e.message for e in (await served.admin.ListEvents(pb.ListEventsRequest(object="decode"))).items] == [
        "from 2 to 5 workers"
    ]
    code, message = await refused(served.admin.Scale(pb.ScaleRequest(pool="decod", count=5)))
    assert (code, "did you mean 'decode'" in message) == (grpc.StatusCode.NOT_FOUND, True)
    for count in (0, 5000):
        code, _ = await refused(served.admin.Scale(pb.ScaleRequest(pool="decode", count=count)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (served.store.get("cluster", "spec") or {})["spec"]["pools"][1]["count"] == 5


async def test_restart_is_a_wish_in_the_store_that_can_be_taken_back(served: Served) -> None:
    info = await served.admin.Restart(pb.RestartRequest(worker="prefill-0", budget_s=9))
    assert (info.state, info.restarting) == ("draining", True)
    document = served.store.get("worker", "prefill-0") or {}
    assert (document["restart"]["incarnation"], document["drain"]["budget_s"]) == (7, 9)
    info = await served.admin.Restart(pb.RestartRequest(worker="prefill-0", cancel=True))
    assert (info.state, info.restarting) == ("ready", False)
    await served.admin.Restart(pb.RestartRequest(worker="prefill-0"))
    document = served.store.get("worker", "prefill-0") or {}
    assert document["drain"]["budget_s"] == Cluster().spec.drain.budget_s
    # Once it is drained its host may be ending: too late.
    served.store.put("worker", "prefill-0", document | {"drained": True})
    assert (await served.admin.Restart(pb.RestartRequest(worker="prefill-0", cancel=True))).restarting
    code, _ = await refused(served.admin.Restart(pb.RestartRequest(worker="decode-9")))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_drain_asked_for_during_a_restart_outlives_it(served: Served) -> None:
    await served.admin.Restart(pb.RestartRequest(worker="prefill-0"))
    await served.admin.Drain(pb.DrainRequest(worker="prefill-0", budget_s=5))
    document = undone(served.store.get("worker", "prefill-0") or {})
    assert (document["drain"]["budget_s"], document["restart"]) == (5, None)
    await served.admin.Drain(pb.DrainRequest(worker="prefill-0", resume=True))
    document = served.store.get("worker", "prefill-0") or {}
    assert (document["drain"], document["restart"]) == (None, None)


async def test_the_order_of_tiers_is_a_change(served: Served) -> None:
    """The first is the default."""
    tiers = [{"name": name, "ttftMs": 900.0, "tpotMs": 90.0} for name in ("gold", "bronze")]
    await apply(served, spec(tiers=tiers))
    (change,) = (await apply(served, spec(tiers=tiers[::-1]))).changes
    assert (change.path, change.effect) == ("spec.tiers", "at_once")
    assert (json.loads(change.old_json), json.loads(change.new_json)) == (["gold", "bronze"], ["bronze", "gold"])
    assert (served.store.get("cluster", "spec") or {})["spec"]["tiers"][0]["name"] == "bronze"
