"""One real cluster for all live tests: Ray, three worker processes, NIXL, front door, started by `pdctl up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from pd.v1 import admin_pb2, admin_pb2_grpc

PDCTL = [str(Path(sys.executable).with_name("pdctl"))]
SPEC = """
apiVersion: pd/v1
kind: Cluster
metadata: {name: live}
spec:
  frontDoor: {httpPort: 0, grpcPort: 0, recordDecisions: 1000000}
"""


@dataclass(frozen=True)
class Live:
    """A running cluster. `url` is the HTTP endpoint, `grpc` HOST:PORT."""

    url: str
    grpc: str
    run_dir: Path

    def pdctl(self, *arguments: str, check: bool = True) -> str:
        """Run pdctl against this cluster; returns its stdout."""
        done = subprocess.run(
            [*PDCTL, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "TANDEM_RUN_DIR": str(self.run_dir)},
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def workers(self) -> dict[str, dict[str, Any]]:
        """What `pdctl get workers` shows, by name, without the cost of a process."""
        with grpc.insecure_channel(self.grpc) as channel:
            reply = admin_pb2_grpc.AdminStub(channel).ListWorkers(admin_pb2.ListWorkersRequest(), timeout=10)
        return {
            item.name: {field.name: getattr(item, field.name) for field in item.DESCRIPTOR.fields}
            for item in reply.items
        }

    def wait(self, what: str, condition: Any, within_s: float = 60.0) -> None:
        """Poll until `condition()` holds."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"

    def wait_ready(self) -> None:
        self.wait("all workers ready", lambda: all(w["state"] == "ready" for w in self.workers().values()))

    def kill(self, name: str) -> None:
        """SIGKILL a worker's engine process."""
        os.kill(self.workers()[name]["pid"], signal.SIGKILL)

    def idle(self) -> bool:
        """True if every block, lease and ledger entry is free and every recount agrees."""
        used = ("kv_used_blocks", "leased_blocks", "reserved_blocks", "running", "waiting")
        return not any(worker[field] for worker in self.workers().values() for field in used)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    run_dir = tmp_path_factory.mktemp("run")
    spec = run_dir / "cluster.yaml"
    spec.write_text(SPEC)
    up = subprocess.run(
        [*PDCTL, "up", "-f", str(spec), "--detach", "-o", "json", "--run-dir", str(run_dir)],
        capture_output=True,
        text=True,
    )
    assert up.returncode == 0, up.stderr
    info = json.loads(up.stdout)
    cluster = Live(info["url"], info["grpc"], run_dir)
    yield cluster
    down = subprocess.run([*PDCTL, "down", "--run-dir", str(run_dir)], capture_output=True, text=True)
    assert down.returncode == 0, down.stderr
    left = [
        line
        for line in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
        if str(run_dir) in line
    ]
    assert not left, left
