"""A real cluster, started and stopped by `pdctl`, and what its store says of its processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from orchestrator.state.base import Store
from orchestrator.state.open import open_store
from pd.v1 import admin_pb2, admin_pb2_grpc

PDCTL = str(Path(sys.executable).with_name("pdctl"))
USED = ("kv_used_blocks", "leased_blocks", "reserved_blocks", "running", "waiting")
POLL_S = 0.05
KEEP = "TANDEM_KEEP_LOGS"
"""Environment variable: the directory to which the logs of a cluster are copied at its end."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """`url` is the HTTP endpoint, `grpc` HOST:PORT."""

    url: str
    grpc: str
    run_dir: Path
    store: Store

    def pdctl(self, *arguments: str, check: bool = True) -> str:
        """Run pdctl against this cluster; returns its stdout. Raises RuntimeError with its stderr."""
        environment = {**os.environ, "TANDEM_RUN_DIR": str(self.run_dir)}
        done = subprocess.run([PDCTL, *arguments], capture_output=True, text=True, env=environment)
        if check and done.returncode:
            raise RuntimeError(f"pdctl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def workers(self) -> dict[str, admin_pb2.WorkerInfo]:
        """Workers by name, as a front door sees them."""
        with grpc.insecure_channel(self.grpc) as channel:
            reply = admin_pb2_grpc.AdminStub(channel).ListWorkers(admin_pb2.ListWorkersRequest(), timeout=10)
        return {item.name: item for item in reply.items}

    def wait(self, what: str, condition: Callable[[], bool], within_s: float = 120.0) -> float:
        """Poll until `condition()` holds; returns how long that took. Raises TimeoutError."""
        started_s = time.monotonic()
        while True:
            try:
                if condition():
                    return time.monotonic() - started_s
            except grpc.RpcError:  # the front door that was asked may be the victim
                pass
            if time.monotonic() > started_s + within_s:
                raise TimeoutError(f"not within {within_s:g} s: {what}")
            time.sleep(POLL_S)

    def wait_ready(self) -> float:
        """Wait until every worker takes requests."""
        return self.wait("all workers ready", lambda: all(w.state == "ready" for w in self.workers().values()))

    def wait_idle(self, within_s: float) -> float:
        """Wait until every block, lease and reservation is free."""
        return self.wait("every block free", self.idle, within_s)

    def idle(self) -> bool:
        """Nothing is held on any worker."""
        return not any(getattr(worker, field) for worker in self.workers().values() for field in USED)


@contextmanager
def cluster(spec: str, *, start_s: float = 300.0) -> Iterator[Cluster]:
    """The cluster of this cluster.yaml text, taken down at the end. Raises RuntimeError if it leaves a process behind."""
    with tempfile.TemporaryDirectory() as directory:
        run_dir, path = Path(directory) / "run", Path(directory) / "cluster.yaml"
        path.write_text(spec)
        arguments = ["up", "-f", str(path), "--detach", "-o", "json", "--run-dir", str(run_dir)]
        up = subprocess.run([PDCTL, *arguments], capture_output=True, text=True, timeout=start_s)
        if up.returncode:
            raise RuntimeError(f"pdctl up: {up.stderr}")
        info = json.loads(up.stdout)
        store = open_store(f"sqlite:///{run_dir}/state.db")
        try:
            yield Cluster(info["url"], info["grpc"], run_dir, store)
        finally:
            store.close()
            down = subprocess.run([PDCTL, "down", "--run-dir", str(run_dir)], capture_output=True, text=True)
            if KEEP in os.environ:
                shutil.copytree(run_dir / "logs", os.environ[KEEP], dirs_exist_ok=True)
        left = processes(str(run_dir))
        if down.returncode or left:
            raise RuntimeError(f"pdctl down: {down.stderr}; left: {left}")


def processes(mark: str) -> dict[int, str]:
    """Command lines that name `mark`, by process id."""
    found: dict[int, Any] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if mark in line:
                found[int(entry.name)] = line
    return found
