"""Controller and hosts on a real Ray, with doubles of the engine process (see engine_double)."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.control.conftest import Running, eventually, exists

pytestmark = pytest.mark.cluster


def test_killed_engine_comes_back_as_a_new_incarnation(running: Running) -> None:
    eventually(lambda: running.events("PairsWarm"))
    before = running.store.get("endpoint", "decode-0")
    assert before is not None
    killed_at = time.monotonic()
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: running.events("WorkerDied"), 1.0)
    assert time.monotonic() - killed_at < 1.0
    after = eventually(lambda: (running.ready(2) or {}).get("decode-0"))
    assert after["incarnation"] > before["incarnation"]
    assert (after["restarts"], after["pid"] != before["pid"]) == (before["restarts"] + 1, True)
    assert after["host_pid"] == before["host_pid"]
    assert "SIGKILL" in running.events("WorkerDied")[0]["message"]
    eventually(lambda: running.events("WorkerRestarted"))
    eventually(lambda: len(running.events("PairsWarm")) == 2)


def test_killed_controller_adopts_what_lives(running: Running) -> None:
    eventually(lambda: running.events("PairsWarm"))
    before = running.store.list("endpoint")
    controller = running.store.get("controller", "main")
    assert controller is not None
    os.kill(controller["pid"], signal.SIGKILL)
    again = eventually(lambda: (d := running.store.get("controller", "main")) and d["restarts"] == 1 and d)
    assert again["pid"] != controller["pid"]
    eventually(lambda: len(running.events("PairsWarm")) == 2)
    assert running.store.list("endpoint") == before
    assert len(running.events("HostStarted")) == 2


def test_killed_host_takes_its_engine_along_and_comes_back(running: Running) -> None:
    before = running.store.get("endpoint", "prefill-0")
    assert before is not None
    os.kill(before["host_pid"], signal.SIGKILL)
    eventually(lambda: not exists(before["pid"]))
    after = eventually(
        lambda: (
            (d := running.store.get("endpoint", "prefill-0"))
            and d["host_pid"] != before["host_pid"]
            and d["state"] == "ready"
            and d
        )
    )
    assert after["incarnation"] > before["incarnation"]


def test_drain_waits_for_running_work_beyond_its_budget(running: Running) -> None:
    busy = running.run_dir / "workers" / "decode-0.running"
    busy.write_text("1")
    drain = {"budget_s": 0.1, "requested_at": time.time()}
    running.store.update("worker", "decode-0", lambda d: {**(d or {}), "drain": drain})
    eventually(lambda: running.events("DrainBudgetExceeded"))
    document = running.store.get("worker", "decode-0")
    assert document is not None and not document["drained"]
    busy.unlink()
    eventually(lambda: (running.store.get("worker", "decode-0") or {})["drained"])
    assert len(running.events("Drained")) == 1
    assert len(running.events("DrainBudgetExceeded")) == 1


def test_restart_drains_replaces_the_host_and_takes_work_again(running: Running) -> None:
    eventually(lambda: running.events("PairsWarm"))
    before = running.store.get("endpoint", "decode-0")
    assert before is not None
    busy = running.run_dir / "workers" / "decode-0.running"
    busy.write_text("1")
    ask(running, "decode-0", before["incarnation"], budget_s=60.0)
    eventually(lambda: (running.store.get("worker", "decode-0") or {})["drain"])
    assert running.store.get("endpoint", "decode-0") == before and not running.events("Restarting")
    busy.unlink()
    eventually(lambda: running.events("Restarted"), 60)
    after = running.store.get("endpoint", "decode-0")
    assert (
        after is not None and after["host_pid"] != before["host_pid"] and after["incarnation"] > before["incarnation"]
    )
    document = running.store.get("worker", "decode-0")
    assert document is not None
    assert (document["drain"], document["drained"], document["restart"]) == (None, False, None)
    assert not exists(before["pid"])
    assert [e["object"] for e in running.events("Restarting")] == ["decode-0"]


def test_restart_whose_time_is_up_leaves_the_worker_as_it_is(running: Running) -> None:
    before = running.store.get("endpoint", "decode-0")
    assert before is not None
    (running.run_dir / "workers" / "decode-0.running").write_text("1")
    ask(running, "decode-0", before["incarnation"], budget_s=0.1)
    eventually(lambda: running.events("RestartGivenUp"))
    document = running.store.get("worker", "decode-0")
    assert document is not None and (document["drain"], document["restart"]) == (None, None)
    assert running.store.get("endpoint", "decode-0") == before


def test_idle_worker_is_restarted_under_any_budget(running: Running) -> None:
    before = running.store.get("endpoint", "decode-0")
    assert before is not None
    ask(running, "decode-0", before["incarnation"], budget_s=0.001)
    eventually(lambda: running.events("Restarted"), 60)
    assert not running.events("DrainBudgetExceeded") and not running.events("RestartGivenUp")


def ask(running: Running, worker: str, incarnation: int, budget_s: float) -> None:
    from orchestrator.state.restarts import wanted

    now = time.time()
    running.store.update("worker", worker, lambda d: wanted(d or {}, incarnation, budget_s, False, now))


def test_busy_worker_leaves_a_smaller_pool_when_its_work_is_done(running: Running) -> None:
    busy = running.run_dir / "workers" / "decode-0.running"
    busy.write_text("1")
    before = running.store.get("endpoint", "decode-0")

    def shrink(spec):  # type: ignore[no-untyped-def]
        pools = [
            {**pool, "count": 0 if pool["name"] == "decode" else 1, "role": "both"} for pool in spec["spec"]["pools"]
        ]
        return {**spec, "spec": {**spec["spec"], "pools": pools}}

    running.store.update("cluster", "spec", shrink)
    eventually(lambda: running.events("WorkerLeaving"))
    assert running.store.get("endpoint", "decode-0") == before and not running.events("WorkerRemoved")
    busy.unlink()
    eventually(lambda: running.store.list("worker").keys() == {"prefill-0"})
    assert [e["reason"] for e in running.events("Drained")] == ["Drained"]
    eventually(lambda: running.store.list("endpoint").keys() == {"prefill-0"})


def test_smaller_pool_stops_hosts_and_stop_leaves_no_process(running: Running) -> None:
    import ray

    endpoints = running.store.list("endpoint")

    def shrink(spec):  # type: ignore[no-untyped-def]
        pools = [
            {**pool, "count": 0 if pool["name"] == "decode" else 1, "role": "both"} for pool in spec["spec"]["pools"]
        ]
        return {**spec, "spec": {**spec["spec"], "pools": pools}}

    running.store.update("cluster", "spec", shrink)
    eventually(lambda: running.store.list("worker").keys() == {"prefill-0"})
    eventually(lambda: running.store.list("endpoint").keys() == {"prefill-0"})
    assert not exists(endpoints["decode-0"]["pid"])
    eventually(lambda: not exists(endpoints["decode-0"]["host_pid"]))
    ray.get(running.controller.stop.remote(), timeout=30)
    assert not exists(endpoints["prefill-0"]["pid"])
    assert running.store.list("endpoint") == {}
    eventually(lambda: not exists(endpoints["prefill-0"]["host_pid"]))
