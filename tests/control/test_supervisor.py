"""A child process and the host that keeps one running, without Ray."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.process import process_config
from orchestrator.core.config import Cluster
from orchestrator.state import Store, open_store
from tests.control.conftest import DOUBLE, eventually, exists
from workers.host import WorkerHost
from workers.supervisor import ChildProcess, describe_exit, last_lines


def child(code: str, log: Path, ready: list[dict[str, Any]], timeout_s: float = 30.0) -> ChildProcess:
    return ChildProcess((sys.executable, "-c", code), log, {}, ready.append, timeout_s)


def test_ready_line_is_found_among_chatter(tmp_path: Path) -> None:
    ready: list[dict[str, Any]] = []
    code = (
        "print('hello'); print('[1]'); print('{\"port\": 7, \"pid\": 1}'); print('{\"port\": 8, \"pid\": 1}'); exit(3)"
    )
    assert child(code, tmp_path / "log", ready).wait() == 3
    assert ready == [{"port": 7, "pid": 1}]
    assert last_lines(tmp_path / "log") == ["hello", "[1]", '{"port": 8, "pid": 1}']


def test_child_that_never_serves_is_killed(tmp_path: Path) -> None:
    assert child("import time; time.sleep(600)", tmp_path / "log", [], 0.2).wait() == -signal.SIGKILL
    assert last_lines(tmp_path / "log") == ["not ready after 0 s: killed"]


def test_exit_is_named() -> None:
    assert [describe_exit(code) for code in (0, 70, -9, -15)] == ["exit code 0", "exit code 70", "SIGKILL", "SIGTERM"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def host(tmp_path: Path, command: tuple[str, ...] = DOUBLE) -> WorkerHost:
    process = process_config(Cluster(), Cluster().spec.pools[0])
    return WorkerHost("test", "w-0", f"sqlite:///{tmp_path / 'state.db'}", str(tmp_path), process, command)


def ready(store: Store) -> dict[str, Any] | None:
    endpoint = store.get("endpoint", "w-0")
    return endpoint if endpoint is not None and endpoint["state"] == "ready" else None


def test_host_restarts_its_engine_and_stops_it(tmp_path: Path, store: Store) -> None:
    supervised = host(tmp_path)
    try:
        first = eventually(lambda: ready(store))
        os.kill(first["pid"], signal.SIGKILL)
        second = eventually(lambda: (e := ready(store)) and e["pid"] != first["pid"] and e)
        assert second["incarnation"] > first["incarnation"]
        assert (first["restarts"], second["restarts"]) == (0, 1)
    finally:
        supervised.stop()
    assert not exists(second["pid"])
    assert store.get("endpoint", "w-0") is None
    eventually(lambda: [e["reason"] for _, e in store.events()] == ["WorkerDied", "WorkerRestarted"])


def test_failing_engine_is_reported_with_its_last_words(tmp_path: Path, store: Store) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('no such model')")
    supervised = host(tmp_path, command)
    try:
        eventually(lambda: len(store.events()) >= 2)
    finally:
        supervised.stop()
    message = store.events()[0][1]["message"]
    assert "exit code 1" in message and "no such model" in message


def test_new_host_ends_the_engine_of_one_that_died(tmp_path: Path, store: Store) -> None:
    config = tmp_path / "workers" / "w-0.json"
    stale = child("import time; time.sleep(600)", tmp_path / "stale.log", [])
    imposter = ChildProcess(
        (sys.executable, "-c", "import time; time.sleep(600)", str(config)), tmp_path / "log", {}, lambda _: None, 30.0
    )
    ended = threading.Thread(target=imposter.wait)
    ended.start()
    try:
        for pid, dies in ((stale.pid, False), (imposter.pid, True)):
            store.put("endpoint", "w-0", {"pid": pid, "incarnation": 5, "restarts": 3, "state": "dead"})
            supervised = host(tmp_path)
            endpoint = eventually(lambda: ready(store))
            supervised.stop()
            assert (exists(pid), endpoint["restarts"]) == (not dies, 4)
    finally:
        for process in (stale, imposter):
            process.kill()
        stale.wait()
        ended.join()
