"""One private Ray for the tests of this directory, and a cluster of engine doubles on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.names import NAMESPACE, controller_name
from orchestrator.control.ray_runtime import start_ray
from orchestrator.core.cluster import Role
from orchestrator.core.config import Cluster, Metadata, Pool, Resources, Spec, dump
from orchestrator.state import Store, open_store
from tests.control.admin_doubles import Served, serving

DOUBLE = (sys.executable, "-m", "tests.control.engine_double")


def eventually(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first true value of `condition`, which is polled; fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.02)
    return value


def exists(pid: int) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Running:
    """A controller with its store."""

    store: Store
    controller: Any
    run_dir: Path

    def ready(self, count: int) -> dict[str, dict[str, Any]] | None:
        endpoints = self.store.list("endpoint")
        return endpoints if [e["state"] for e in endpoints.values()] == ["ready"] * count else None

    def events(self, reason: str) -> list[dict[str, Any]]:
        return [event for _, event in self.store.events(0, 10_000) if event["reason"] == reason]


@pytest.fixture(scope="session")
def ray_runtime() -> Iterator[None]:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    runtime = start_ray(Cluster())
    yield
    runtime.stop()


@pytest.fixture
def running(ray_runtime: None, tmp_path: Path) -> Iterator[Running]:
    import ray

    from orchestrator.control.controller import Controller

    name = f"test-{tmp_path.name.strip('_').replace('_', '-')}"[:60].rstrip("-")
    small = Resources(cpus=0.1)
    pools = (Pool("prefill", Role.PREFILL, 1, resources=small), Pool("decode", Role.DECODE, 1, resources=small))
    cluster = Cluster(Metadata(name), Spec(pools=pools))
    url = f"sqlite:///{tmp_path / 'state.db'}"
    store = open_store(url)
    store.put("cluster", "spec", dump(cluster))
    controller = (
        ray.remote(Controller)
        .options(
            name=controller_name(name),
            namespace=NAMESPACE,
            lifetime="detached",
            max_restarts=-1,
            num_cpus=0,
            max_concurrency=4,
        )
        .remote(name, url, str(tmp_path), DOUBLE)
    )
    cluster_under_test = Running(store, controller, tmp_path)
    eventually(lambda: cluster_under_test.ready(2), 60)
    yield cluster_under_test
    eventually(lambda: _stopped(controller))
    ray.kill(controller, no_restart=True)
    store.close()


def _stopped(controller: Any) -> bool:
    import ray

    try:
        ray.get(controller.stop.remote(), timeout=30)
    except ray.exceptions.ActorUnavailableError:
        return False
    return True


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """An Admin service over a store of its own."""
    async with serving(tmp_path) as admin:
        yield admin
