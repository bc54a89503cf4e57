"""What an operator does while the cluster runs."""

import json

import pytest
import requests

pytestmark = pytest.mark.cluster


def test_get_workers_has_the_promised_fields(live):
    items = json.loads(live.pdctl("get", "workers", "-o", "json"))["items"]
    assert {item["name"] for item in items} == {"prefill-0", "decode-0", "decode-1"}
    wanted = {"name", "pool", "role", "state", "pid", "node", "running", "waiting", "kv_used_blocks", "kv_total_blocks"}
    assert all(wanted <= item.keys() and item["pid"] > 0 for item in items)


def ask(live, text="count to 30"):
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], "temperature": 0}
    reply = requests.post(f"{live.url}/v1/chat/completions", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    request_id = reply.headers["x-request-id"]
    return request_id, reply.json()["choices"][0]["message"]["content"]


def test_explain_names_workers_reasons_and_times(live):
    live.wait_ready()
    request_id, _ = ask(live)
    detail = json.loads(live.pdctl("explain", "request", request_id, "-o", "json"))
    stages = {stage["name"]: stage for stage in detail["stages"]}
    assert {"queue", "prefill", "reserve", "handoff", "decode"} <= stages.keys()
    assert stages["prefill"]["worker"] == "prefill-0"
    assert stages["prefill"]["reason"]
    assert detail["kv_bytes"] > 0


def test_roles_change_while_running(live):
    live.wait_ready()
    live.pdctl("set", "role", "decode-1", "prefill")
    try:
        live.wait("role", lambda: live.workers()["decode-1"]["role"] == "prefill")
        assert ask(live)[1] == " ".join(map(str, range(1, 31)))
        decoders = {
            json.loads(live.pdctl("explain", "request", ask(live)[0], "-o", "json"))["request"]["decode_worker"]
            for _ in range(4)
        }
        assert decoders == {"decode-0"}
    finally:
        live.pdctl("set", "role", "decode-1", "decode")


def test_drain_and_resume(live):
    live.wait_ready()
    live.pdctl("drain", "decode-0", "--budget", "20s")
    try:
        live.wait("drained", lambda: live.workers()["decode-0"]["state"] == "drained")
        decoders = {
            json.loads(live.pdctl("explain", "request", ask(live)[0], "-o", "json"))["request"]["decode_worker"]
            for _ in range(4)
        }
        assert decoders == {"decode-1"}
    finally:
        live.pdctl("drain", "decode-0", "--resume")
    live.wait_ready()


def test_policy_changes_while_running(live):
    live.wait_ready()
    live.pdctl("set", "policy", "routing", "round_robin")
    try:
        live.wait("policy", lambda: policies(live)["routing"] == "round_robin")
        live.wait("a request routed by it", lambda: reserve_reason(live) == "round_robin", 20)
    finally:
        live.pdctl("set", "policy", "routing", "prefix_aware")


def test_metrics(live):
    ask(live)
    text = requests.get(f"{live.url}/metrics").text
    for name in (
        "pd_ttft_seconds_bucket",
        "pd_transfer_bytes_total",
        "pd_worker_kv_total_blocks",
        "pd_router_decision_seconds",
    ):
        assert name in text, name


def policies(live):
    return {item["decision"]: item["name"] for item in json.loads(live.pdctl("get", "policies", "-o", "json"))["items"]}


def reserve_reason(live):
    detail = json.loads(live.pdctl("explain", "request", ask(live, "count to 5")[0], "-o", "json"))
    return next(stage["reason"] for stage in detail["stages"] if stage["name"] == "reserve")
