"""Starts a cluster, keeps it until it is told to stop, and takes it down: `run`, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from orchestrator.control.budget import drain_budget_s
from orchestrator.control.checks import check_model, check_ports
from orchestrator.control.frontdoors import FrontDoors
from orchestrator.control.leftovers import end_leftovers
from orchestrator.control.problem import StartError
from orchestrator.control.ray_process import RayProcess
from orchestrator.control.rundir import DESIRED, RunDirectory
from orchestrator.control.signals import Interrupted, StopSignal
from orchestrator.control.startup import wait_for_pairs, wait_for_workers, wait_until_routable
from orchestrator.control.state_keeper import StateKeeper
from orchestrator.core.config import Cluster, dump
from orchestrator.state import Store, StoreError, open_store
from workers.host import OWNER

DOORS_GRACE_S = 8.0


class Reporter(Protocol):
    """Who hears how a start goes."""

    def say(self, line: str) -> None:
        """One line of progress."""

    def ready(self, cluster: dict[str, Any]) -> None:
        """The cluster serves; `cluster` is the content of `cluster.json`."""


def run(cluster: Cluster, run_dir: RunDirectory, reporter: Reporter) -> None:
    """Run `cluster` until a signal ends it; nothing is left afterwards. Raises StartError if it does not come up."""
    stop = StopSignal()
    stop.install()
    os.umask(0o077)  # configuration files may hold the password of the store
    run_dir.prepare()
    with contextlib.suppress(Interrupted), run_dir.locked():
        check_model(cluster)
        check_ports(cluster)
        if end_leftovers(run_dir, patience_s=0.0):
            reporter.say("ended processes of an earlier cluster in this run directory")
        store_url = cluster.spec.state.store_url(run_dir.path)
        store = _fresh_store(cluster, store_url)
        keeper = StateKeeper(store, reporter.say)
        keeper.start()
        os.environ[OWNER] = str(run_dir.path)
        doors = FrontDoors(cluster, run_dir, store, store_url)
        # Ray and the front doors take seconds to start, and need each other only later.
        serving = ThreadPoolExecutor(1).submit(doors.start)
        ray = RayProcess(cluster, run_dir, store, store_url, reporter.say, lambda: _rewrite(run_dir, ray))
        try:
            _serve(cluster, run_dir, reporter, stop, ray, store_url, store, doors, serving)
        finally:
            stop.starting = False
            doors.stop(drain_budget_s(store) + DOORS_GRACE_S, stop.now)
            ray.stop()
            keeper.stop()
            del os.environ[OWNER]
            run_dir.cluster_file.unlink(missing_ok=True)
            store.close()
            end_leftovers(run_dir)


def _serve(
    cluster: Cluster,
    run_dir: RunDirectory,
    reporter: Reporter,
    stop: StopSignal,
    ray: RayProcess,
    store_url: str,
    store: Store,
    doors: FrontDoors,
    serving: Future[None],
) -> None:
    address = cluster.spec.ray.address
    reporter.say("ray: starting" if address == "local" else f"ray: joining {address}")
    ray.start()
    ray.wait_ready()
    serving.result()
    host = cluster.spec.front_door.host
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    scheme = "https" if cluster.spec.security.tls.enabled else "http"
    http_url, grpc_address = f"{scheme}://{shown}:{doors.http_port}", f"{shown}:{doors.grpc_port}"
    reporter.say(f"front door: serving at {http_url} and {grpc_address}")
    wait_for_workers(cluster, run_dir, store, ray.resources, reporter.say)
    wait_for_pairs(ray.status, sum(pool.count for pool in cluster.spec.pools), reporter.say)
    wait_until_routable(http_url, reporter.say)
    description = {
        "name": cluster.name,
        "http_url": http_url,
        "grpc_address": grpc_address,
        "url": http_url,
        "grpc": grpc_address,
        "pid": os.getpid(),
        **_ray_of(ray),
        "store_url": store_url,
        "run_dir": str(run_dir.path),
        "started_at": time.time(),
    }
    run_dir.write_cluster(description)
    reporter.ready(description)
    stop.wait()
    if not stop.now.is_set():
        reporter.say(f"stopping: requests have {drain_budget_s(store):g} s to finish; Ctrl-C again stops at once")


def _ray_of(ray: RayProcess) -> dict[str, Any]:
    return {"ray_address": ray.address, "ray_directory": str(ray.directory or "")}


def _rewrite(run_dir: RunDirectory, ray: RayProcess) -> None:
    """Another Ray than before: say so where others look for it."""
    if description := run_dir.read_cluster():
        with contextlib.suppress(OSError):  # a full disk; `pdctl down` of a killed launcher then finds an older address
            run_dir.write_cluster(description | _ray_of(ray))


def _fresh_store(cluster: Cluster, store_url: str) -> Store:
    """The store with this configuration as the only desired state. Events of earlier runs stay."""
    try:
        store = open_store(store_url, cluster.name)
        for kind in DESIRED:
            for name in store.list(kind):
                store.delete(kind, name)
        store.put("cluster", "spec", dump(cluster))
    except StoreError as error:
        raise StartError(f"the state store cannot be used: {error}", "check spec.state") from error
    return store
