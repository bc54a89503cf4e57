"""`pdctl get` in all its forms."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cli.admin_double import AdminDouble
from tests.cli.conftest import Pdctl


def test_workers_table(pdctl: Pdctl) -> None:
    done = pdctl("get", "workers")
    lines = done.out.splitlines()
    assert done.code == 0 and done.err == ""
    assert lines[0].split() == ["NAME", "POOL", "ROLE", "STATE", "PID", "RUNNING", "WAITING", "KV", "RESTARTS", "AGE"]
    assert lines[2].split()[:7] == ["decode-0", "decode", "decode", "ready", "102", "3", "0"]
    assert "12/400 (3%)" in lines[2]


def test_workers_json_has_every_field(pdctl: Pdctl) -> None:
    document = pdctl("get", "workers", "-o", "json").json()
    assert (document["apiVersion"], document["kind"]) == ("pd/v1", "WorkerList")
    first = document["items"][0]
    assert first["name"] == "prefill-0" and first["running"] == 0 and first["kv_total_blocks"] == 400
    wanted = {"name", "pool", "role", "state", "pid", "node", "running", "waiting", "kv_used_blocks", "kv_total_blocks"}
    assert wanted <= first.keys()
    assert all(isinstance(first[k], int) for k in ("incarnation", "kv_bytes_pulled", "pid"))


def test_yaml_is_the_same_document(pdctl: Pdctl) -> None:
    as_json = pdctl("get", "workers", "-o", "json").json()
    assert yaml.safe_load(pdctl("get", "workers", "-o", "yaml").out) == as_json


def test_names_filters_headers(pdctl: Pdctl) -> None:
    assert pdctl("get", "workers", "-o", "name").out.split() == [
        "worker/prefill-0",
        "worker/decode-0",
        "worker/decode-1",
    ]
    assert pdctl("get", "workers", "--pool", "decode", "-o", "name").out.split() == [
        "worker/decode-0",
        "worker/decode-1",
    ]
    one = pdctl("get", "workers", "decode-0", "--no-headers").out.splitlines()
    assert len(one) == 1 and one[0].startswith("decode-0")
    assert "ADDRESS" in pdctl("get", "workers", "-o", "wide").out


def test_singular_means_plural(pdctl: Pdctl) -> None:
    assert pdctl("get", "worker", "-o", "name").out == pdctl("get", "workers", "-o", "name").out


def test_server_option_wins(lone: Pdctl, admin: AdminDouble, _server: object) -> None:
    assert lone("get", "workers", "--server", _server.address).code == 0  # type: ignore[attr-defined]
    assert lone("--server", _server.address, "get", "workers").code == 0  # type: ignore[attr-defined]


def test_watch_prints_what_changed(pdctl: Pdctl) -> None:
    lines = pdctl("get", "workers", "-w").out.splitlines()
    assert len(lines) == 1 + 3 + 1
    assert lines[-1].split()[:4] == ["decode-1", "decode", "decode", "ready"]


def test_watch_json_is_a_line_per_change(pdctl: Pdctl) -> None:
    rows = [json.loads(line) for line in pdctl("get", "workers", "-w", "-o", "json").out.splitlines()]
    assert [r["name"] for r in rows] == ["prefill-0", "decode-0", "decode-1", "decode-1"]
    assert rows[-1]["state"] == "ready" and rows[-1]["kind"] == "Worker"


@pytest.mark.parametrize(
    ("noun", "kind", "cell"),
    [("pools", "PoolList", "1/2"), ("requests", "RequestList", "40/64"), ("policies", "PolicyList", "alpha=0.5")],
)
def test_other_nouns(pdctl: Pdctl, noun: str, kind: str, cell: str) -> None:
    assert cell in pdctl("get", noun).out
    assert pdctl("get", noun, "-o", "json").json()["kind"] == kind


def test_requests_by_state(pdctl: Pdctl) -> None:
    items = pdctl("get", "requests", "--state", "queued", "-o", "json").json()["items"]
    assert [i["request_id"] for i in items] == ["req-2"] and items[0]["ttft_s"] is None


def test_policy_parameters_are_parsed(pdctl: Pdctl) -> None:
    items = pdctl("get", "policies", "routing", "-o", "json").json()["items"]
    assert items[0]["parameters"] == {"alpha": 0.5} and "parameters_json" not in items[0]


def test_events_of_one_object(pdctl: Pdctl) -> None:
    done = pdctl("get", "events", "decode-0")
    assert "worker/decode-0" in done.out and "Reconciled" not in done.out


def test_empty_list_says_so(pdctl: Pdctl, admin: AdminDouble) -> None:
    admin.workers.clear()
    done = pdctl("get", "workers")
    assert (done.code, done.out, done.err) == (0, "", "No workers found.\n")
