"""Verbs that operate a running cluster: apply, scale, restart, wait, logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pd.v1 import admin_pb2
from tests.cli.admin_double import AdminDouble
from tests.cli.conftest import Pdctl

CLUSTER = "apiVersion: pd/v1\nkind: Cluster\nspec: {}\n"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.waiting.POLL_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER)
    return path


def change(path: str, old: object, new: object, effect: str, note: str = "") -> admin_pb2.Change:
    return admin_pb2.Change(path=path, old_json=json.dumps(old), new_json=json.dumps(new), effect=effect, note=note)


SCALED = change("spec.pools.decode.count", 2, 4, "scale", "2 more")
ROUTED = change(
    "spec.policies.routing",
    {"name": "prefix_aware", "parameters": {}},
    {"name": "round_robin", "parameters": {"a": 1}},
    "at_once",
)
MOVED = change("spec.model.path", "demo", "/models/m", "refused", "take it back")


def test_apply_shows_and_applies(pdctl: Pdctl, admin: AdminDouble, file: Path) -> None:
    admin.changes = [SCALED, ROUTED]
    done = pdctl("apply", "-f", file)
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[1][:4] == ["pools.decode.count", "2", "4", "scales"]
    assert rows[2][:4] == ["policies.routing", "prefix_aware", "round_robin", "a=1"]
    assert [a.dry_run for a in admin.applied] == [True, False] and "applied 2 changes" in done.err
    assert json.loads(admin.applied[1].spec_json)["kind"] == "Cluster"
    document = pdctl("apply", "-f", file, "-o", "json").json()
    assert document["kind"] == "Apply" and document["applied"] and document["changes"][0]["new"] == 4


def test_apply_dry_run_changes_nothing(pdctl: Pdctl, admin: AdminDouble, file: Path) -> None:
    admin.changes = [SCALED]
    done = pdctl("apply", "-f", file, "--dry-run")
    assert (done.code, [a.dry_run for a in admin.applied]) == (0, [True])
    assert "dry run: nothing was changed" in done.err
    admin.changes = []
    assert pdctl("apply", "-f", file).err == "nothing differs from what is in force\n"


def test_apply_refuses_what_needs_a_new_start(pdctl: Pdctl, admin: AdminDouble, file: Path) -> None:
    admin.changes = [SCALED, MOVED]
    done = pdctl("apply", "-f", file)
    assert done.code == 1 and [a.dry_run for a in admin.applied] == [True]
    assert "model.path" in done.out and "refused" in done.out
    assert done.err.startswith("error: spec.model.path cannot change while the cluster runs: nothing was changed; ")
    assert "pdctl up" in done.err


def test_apply_names_the_fault_of_a_file(pdctl: Pdctl, admin: AdminDouble, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(CLUSTER.replace("{}", "{drain: {budgetS: soon}}"))
    done = pdctl("apply", "-f", bad)
    assert done.code == 1 and "bad.yaml:3: spec.drain.budgetS" in done.err and admin.applied == []
    assert pdctl("apply").code == 2


def test_scale(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert pdctl("scale", "pool/decode", "--replicas", "3").out == "pool/decode scaled to 3\n"
    assert (admin.scales[0].pool, admin.scales[0].count) == ("decode", 3)
    done = pdctl("scale", "decode", "--replicas", "3", "--wait", "-o", "json")
    assert done.code == 0 and done.json()["ready"] == 3
    done = pdctl("scale", "nothing", "--replicas", "3")
    assert done.code == 1 and "use one of: decode, prefill" in done.err
    assert pdctl("scale", "decode", "--replicas", "-1").code == 2


def test_scale_that_is_not_done_in_time_says_how_it_stands(pdctl: Pdctl, admin: AdminDouble) -> None:
    done = pdctl("scale", "decode", "--replicas", "1", "--wait", "--timeout", "0")
    assert done.code == 1 and "pool decode: 1 ready, 1 starting; wanted 1" in done.err


def test_restart_worker_tells_its_progress(pdctl: Pdctl, admin: AdminDouble) -> None:
    admin.workers["decode-0"].incarnation = 7
    done = pdctl("restart", "worker", "worker/decode-0", "--budget-s", "90")
    assert done.code == 0 and done.out.startswith("worker/decode-0 restarted in ")
    assert "draining, 3 running" in done.err and "starting" in done.err
    assert "no other worker can decode, so others run whole requests" in done.err
    assert (admin.restarts[0].budget_s, admin.restarts[0].force) == (90, False)


def test_rolling_restart_goes_one_by_one(pdctl: Pdctl, admin: AdminDouble) -> None:
    for worker in admin.workers.values():
        worker.incarnation, worker.state = 7, "ready"
    document = pdctl("restart", "all", "--force", "-o", "json").json()
    assert [i["name"] for i in document["items"]] == ["prefill-0", "decode-0", "decode-1"]
    assert all(i["incarnation"] == 8 and i["state"] == "ready" for i in document["items"])
    assert [(r.worker, r.force) for r in admin.restarts] == [(n, True) for n in admin.workers]
    admin.restarts.clear()
    assert pdctl("restart", "pool", "decode").out.count("restarted") == 2
    assert [r.worker for r in admin.restarts] == ["decode-0", "decode-1"]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("given up", "decode-0 was not restarted: still busy after 60 s (1 of 2 restarted: x-0); give its work"),
        ("dead", "decode-0 does not start: exit code 1 (1 of 2 restarted: x-0); look at `pdctl logs decode-0`"),
    ],
)
def test_rolling_restart_stops_at_the_first_failure(pdctl: Pdctl, admin: AdminDouble, end: str, words: str) -> None:
    good = admin_pb2.WorkerInfo(name="x-0", pool="decode", role="decode", state="ready", incarnation=7)
    last = admin.workers["decode-0"]
    last.incarnation = 7
    admin.workers = {"x-0": good, "decode-0": last}
    admin.restart_ends["decode-0"] = end
    done = pdctl("restart", "all")
    assert done.code == 1 and words in done.err, done.err


def test_interrupted_restart_is_taken_back(pdctl: Pdctl, admin: AdminDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.restart.roll.until", interrupt)
    done = pdctl("restart", "worker", "decode-0")
    assert done.code == 130 and "decode-0 takes work again and was not restarted" in done.err
    assert [r.cancel for r in admin.restarts] == [False, True] and admin.workers["decode-0"].state == "ready"


def test_wait_worker(pdctl: Pdctl, admin: AdminDouble) -> None:
    assert pdctl("wait", "worker", "decode-0", "--for", "ready").out == "worker/decode-0 ready\n"
    done = pdctl("wait", "worker", "decode-1", "--for", "ready", "--timeout", "0")
    assert (
        done.code == 1 and "worker decode-1 ready did not happen within 0s; decode-1 is starting, loading" in done.err
    )
    assert pdctl("wait", "worker", "decode-0").code == 2
    assert pdctl("wait", "worker", "decode-0", "--for", "happy").code == 2
    assert pdctl("wait", "worker", "decode-0", "--for", "ready", "--timeout", "soon").code == 2
    assert "no worker 'decode-7'" in pdctl("wait", "worker", "decode-7", "--for", "ready").err
    assert pdctl("wait", "worker", "decode-0", "--for", "ready", "-o", "json").json()["state"] == "ready"


def test_wait_worker_does_not_take_the_old_process_for_the_new_one(pdctl: Pdctl, admin: AdminDouble) -> None:
    admin.workers["decode-0"].restarting = True
    assert pdctl("wait", "worker", "decode-0", "--for", "ready", "--timeout", "0").code == 1


def test_wait_cluster(pdctl: Pdctl, admin: AdminDouble) -> None:
    done = pdctl("wait", "cluster", "--for", "ready", "--timeout", "0")
    assert done.code == 1 and "decode 1/2" in done.err
    admin.pools = [admin_pb2.PoolInfo(name=n, desired=2, ready=2) for n in ("decode", "prefill")]
    assert pdctl("wait", "cluster").out == "cluster ready: 4 workers\n"


def test_wait_cluster_that_is_not_there_yet(lone: Pdctl) -> None:
    done = lone("wait", "cluster", "--timeout", "0")
    assert done.code == 1 and "a ready cluster did not happen within 0s; no cluster is running" in done.err


def test_logs_from_the_run_directory_even_when_no_cluster_answers(
    lone: Pdctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_RUN_DIR", str(tmp_path))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "decode-0.log").write_text("one\ntwo\nthree\n")
    assert lone("logs", "decode-0", "--tail", "2").out == "two\nthree\n"
    done = lone("logs", "decode-1")
    assert done.code == 1 and "there is no log 'decode-1'" in done.err and "use one of: decode-0" in done.err


def test_logs_of_a_cluster_elsewhere(pdctl: Pdctl) -> None:
    assert pdctl("logs", "decode-0", "--tail", "7").out == "the last 7\n"
    assert pdctl("logs", "worker/decode-0", "--follow").out == "the last 100\nand more\n"
    done = pdctl("logs", "nope")
    assert done.code == 1 and "use one of: decode-0" in done.err


def test_events_are_watched(pdctl: Pdctl) -> None:
    lines = pdctl("get", "events", "--object", "decode-0", "-w").out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["Started", "Drained"]
    assert pdctl("get", "events", "decode-0", "--object", "decode-1").code == 2


def test_front_door_that_is_silent_is_named(pdctl: Pdctl, admin: AdminDouble) -> None:
    admin.silent = ["front-door-1"]
    done = pdctl("get", "requests")
    assert done.code == 0 and done.err == "front-door-1 did not answer: its requests are missing\n"


def test_describe_worker_shows_layout_and_versions(pdctl: Pdctl) -> None:
    out = pdctl("describe", "worker", "decode-0").out
    assert "block, layer" in out and "torch 2.13" in out and "Incarnation" in out and "Restarts" in out


def test_top_takes_the_same_output_option_as_the_others(pdctl: Pdctl) -> None:
    assert pdctl("top", "-o", "json").json()["kind"] == "Top"
    assert pdctl("top", "--json").json()["workers"][0]["name"] == "prefill-0"
