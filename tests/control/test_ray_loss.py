"""Ray's head is killed, and the controller, a front door and a host are stopped, under a cluster that serves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.control.leftovers import leftovers
from orchestrator.control.rundir import RunDirectory
from orchestrator.state import Store, open_store
from tests.control.conftest import eventually, exists

pytestmark = pytest.mark.cluster

CLUSTER = """
apiVersion: pd/v1
kind: Cluster
metadata: {name: ray-loss}
spec:
  frontDoor: {httpPort: 0, grpcPort: 0}
  faults: {answerTimeoutS: 5}
  pools:
    - {name: all, role: both, count: 1}
"""
LONG_S = 400.0
"""Ray starts in seconds on a quiet machine and in minutes on a busy one."""


class Serving:
    """A cluster with one worker, started by `pdctl up`."""

    def __init__(self, directory: Path) -> None:
        self.run_dir = RunDirectory(directory / "run")
        file = directory / "cluster.yaml"
        file.write_text(CLUSTER)
        done = self.pdctl("up", "-f", str(file), "--detach")
        assert done.returncode == 0, done.stderr
        self.store: Store = open_store(f"sqlite:///{self.run_dir.path / 'state.db'}")

    def pdctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "pdctl", *arguments, "--run-dir", self.run_dir.path]
        return subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)

    def keeper(self) -> psutil.Process:
        launcher = psutil.Process(self.run_dir.read_cluster()["pid"])
        return next(child for child in launcher.children() if "orchestrator.control.keeper" in child.cmdline())

    def events(self, reason: str) -> list[dict[str, Any]]:
        return [e for _, e in self.store.events(0, 10_000) if e["reason"] == reason]

    def event(self, reason: str) -> dict[str, Any]:
        event: dict[str, Any] = eventually(lambda: self.events(reason), LONG_S)[-1]
        return event

    def document(self, kind: str, name: str, but: int = 0) -> dict[str, Any]:
        """Once its process is not `but`, and ready if it says so."""

        def there() -> dict[str, Any] | None:
            found = self.store.get(kind, name)
            return found if found and found["pid"] != but and found.get("state", "ready") == "ready" else None

        document: dict[str, Any] = eventually(there, LONG_S)
        return document

    def answers(self) -> bool:
        return self.pdctl("generate", "count to 5").stdout.split()[:5] == ["1", "2", "3", "4", "5"]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    cluster = Serving(tmp_path_factory.mktemp("ray-loss"))
    yield cluster
    cluster.store.close()
    assert cluster.pdctl("down").returncode == 0
    assert leftovers(cluster.run_dir) == []


def test_stopped_front_door_is_replaced(serving: Serving) -> None:
    before = serving.document("frontdoor", "front-door-0")
    os.kill(before["pid"], signal.SIGSTOP)
    assert "no sign of life" in serving.event("FrontDoorHung")["message"]
    serving.document("frontdoor", "front-door-0", but=before["pid"])
    assert not exists(before["pid"])
    eventually(serving.answers)


def test_stopped_controller_is_replaced_and_no_request_notices(serving: Serving) -> None:
    before, worker = serving.document("controller", "main"), serving.document("endpoint", "all-0")
    os.kill(before["pid"], signal.SIGSTOP)
    assert serving.answers()
    assert "no answer" in serving.event("ControllerHung")["message"]
    serving.document("controller", "main", but=before["pid"])
    assert not exists(before["pid"])
    assert serving.document("endpoint", "all-0") == worker
    assert serving.answers()
    assert len(serving.events("ControllerHung")) == 1


def test_killed_controller_is_not_taken_for_a_hung_one_while_it_starts(serving: Serving) -> None:
    before, hung = serving.document("controller", "main"), serving.events("ControllerHung")
    os.kill(before["pid"], signal.SIGKILL)
    serving.document("controller", "main", but=before["pid"])
    assert serving.events("ControllerHung") == hung


def test_stopped_host_is_left_alone_until_its_engine_is_needed_again(serving: Serving) -> None:
    before = serving.document("endpoint", "all-0")
    os.kill(before["host_pid"], signal.SIGSTOP)
    serving.event("HostHung")
    assert serving.answers() and exists(before["pid"]) and exists(before["host_pid"])
    os.kill(before["pid"], signal.SIGKILL)
    after = serving.document("endpoint", "all-0", but=before["pid"])
    assert after["host_pid"] != before["host_pid"] and after["incarnation"] > before["incarnation"]
    eventually(serving.answers, LONG_S)


def test_killed_ray_head_comes_back_with_its_workers_and_the_front_door_stays(serving: Serving) -> None:
    door, worker = serving.document("frontdoor", "front-door-0"), serving.document("endpoint", "all-0")
    address = serving.run_dir.read_cluster()["ray_address"]
    keeper = serving.keeper()
    next(child for child in keeper.children() if child.name().startswith("gcs_server")).kill()
    assert "gcs_server" in serving.event("RayLost")["message"]
    serving.event("RayBack")
    after = serving.document("endpoint", "all-0", but=worker["pid"])
    assert after["incarnation"] > worker["incarnation"] and not exists(worker["pid"])
    eventually(serving.answers, LONG_S)
    assert serving.document("frontdoor", "front-door-0")["pid"] == door["pid"]
    cluster = serving.run_dir.read_cluster()
    assert cluster["ray_address"] != address and Path(cluster["ray_directory"]).is_dir()
    assert json.loads(serving.pdctl("get", "workers", "-o", "json").stdout)["items"][0]["state"] == "ready"
