"""`pdctl up --detach` and `pdctl down` with real processes: Ray, engines with the demo model, a front door."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.leftovers import leftovers
from orchestrator.control.rundir import RunDirectory
from tests.control.conftest import eventually, exists

pytestmark = pytest.mark.cluster

CLUSTER = """
apiVersion: pd/v1
kind: Cluster
metadata: {name: up-and-down}
spec:
  frontDoor: {httpPort: 0, grpcPort: 0}
  pools:
    - {name: prefill, role: prefill, count: 1}
    - {name: decode, role: decode, count: 1}
"""


class Pdctl:
    """Runs `pdctl` on one run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "cluster.yaml"
        self.file.write_text(CLUSTER)
        self.run_dir = RunDirectory(directory / "run")

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "pdctl", *arguments, "--run-dir", self.run_dir.path]
        return subprocess.run(command, capture_output=True, text=True, timeout=180)

    def up(self) -> dict[str, Any]:
        done = self("up", "-f", str(self.file), "--detach", "-o", "json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture
def pdctl(tmp_path: Path) -> Iterator[Pdctl]:
    command = Pdctl(tmp_path)
    yield command
    command("down")


def test_cluster_serves_survives_and_leaves_nothing(pdctl: Pdctl) -> None:
    cluster = pdctl.up()
    assert {"url", "grpc", "pid", "run_dir"} <= cluster.keys()
    assert json.loads(pdctl.run_dir.cluster_file.read_text()) == cluster

    again = pdctl("up", "-f", str(pdctl.file))
    assert (again.returncode, "runs in" in again.stderr, "pdctl down" in again.stderr) == (1, True, True)

    workers = json.loads(pdctl("get", "workers", "-o", "json").stdout)["items"]
    assert [(w["name"], w["state"]) for w in workers] == [("decode-0", "ready"), ("prefill-0", "ready")]
    assert pdctl("generate", "count to 5").stdout.split()[:5] == ["1", "2", "3", "4", "5"]

    door = _front_door(pdctl)
    os.kill(door, signal.SIGKILL)
    eventually(lambda: pdctl("generate", "count to 5").returncode == 0)
    assert _front_door(pdctl) != door

    assert pdctl("down").returncode == 0
    assert leftovers(pdctl.run_dir) == []
    assert not any(exists(worker["pid"]) for worker in workers)
    down_again = pdctl("down")
    assert (down_again.returncode, "no cluster runs" in down_again.stderr) == (1, True)


def test_down_ends_what_a_killed_launcher_left(pdctl: Pdctl) -> None:
    cluster = pdctl.up()
    os.kill(cluster["pid"], signal.SIGKILL)
    assert pdctl("down").returncode == 0
    assert leftovers(pdctl.run_dir) == []


def _front_door(pdctl: Pdctl) -> int:
    from orchestrator.state import open_store

    store = open_store(f"sqlite:///{pdctl.run_dir.path / 'state.db'}")
    try:
        pid: int = eventually(lambda: (d := store.get("frontdoor", "front-door-0")) and d["pid"])
    finally:
        store.close()
    return pid
