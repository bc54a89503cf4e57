"""Starts a cluster, keeps it until it is told to stop, and takes it down: `run`, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

from orchestrator.control.checks import check_model, check_ports
from orchestrator.control.frontdoors import FrontDoors
from orchestrator.control.leftovers import end_actors, end_leftovers
from orchestrator.control.names import NAMESPACE, controller_name
from orchestrator.control.problem import StartError
from orchestrator.control.ray_runtime import RayRuntime, start_ray
from orchestrator.control.rundir import DESIRED, RunDirectory
from orchestrator.control.signals import Interrupted, StopSignal
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
        os.environ[OWNER] = str(run_dir.path)
        doors = FrontDoors(cluster, run_dir, store, store_url)
        # Ray and the front doors take seconds to start, and need each other only later.
        serving = ThreadPoolExecutor(1).submit(doors.start)
        try:
            with _ray(cluster, reporter, stop) as runtime:
                _serve(cluster, run_dir, reporter, stop, runtime, store_url, store, doors, serving)
        finally:
            stop.starting = False
            doors.stop(DOORS_GRACE_S)
            del os.environ[OWNER]
            run_dir.cluster_file.unlink(missing_ok=True)
            store.close()
            end_leftovers(run_dir)


@contextmanager
def _ray(cluster: Cluster, reporter: Reporter, stop: StopSignal) -> Iterator[RayRuntime]:
    reporter.say("ray: starting" if cluster.spec.ray.address == "local" else f"ray: joining {cluster.spec.ray.address}")
    runtime = start_ray(cluster)
    try:
        stop.install()
        yield runtime
    finally:
        stop.starting = False
        runtime.stop()


def _serve(
    cluster: Cluster,
    run_dir: RunDirectory,
    reporter: Reporter,
    stop: StopSignal,
    runtime: RayRuntime,
    store_url: str,
    store: Store,
    doors: FrontDoors,
    serving: Future[None],
) -> None:
    import ray

    from orchestrator.control.controller import Controller
    from orchestrator.control.startup import wait_for_pairs, wait_for_workers, wait_until_routable

    _end_predecessor(cluster, run_dir)
    try:
        options = {
            "name": controller_name(cluster.name),
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "max_restarts": -1,
            "max_concurrency": 4,
            "num_cpus": 0,
        }
        actor = ray.remote(Controller).options(**options)
        controller = actor.remote(cluster.name, store_url, str(run_dir.path))
        serving.result()
        host = cluster.spec.front_door.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        scheme = "https" if cluster.spec.security.tls.enabled else "http"
        http_url, grpc_address = f"{scheme}://{shown}:{doors.http_port}", f"{shown}:{doors.grpc_port}"
        reporter.say(f"front door: serving at {http_url} and {grpc_address}")
        wait_for_workers(cluster, run_dir, store, reporter.say)
        wait_for_pairs(controller, sum(pool.count for pool in cluster.spec.pools), reporter.say)
        wait_until_routable(http_url, reporter.say)
        description = {
            "name": cluster.name,
            "http_url": http_url,
            "grpc_address": grpc_address,
            "url": http_url,
            "grpc": grpc_address,
            "pid": os.getpid(),
            "ray_address": runtime.address,
            "ray_directory": str(runtime.directory or ""),
            "store_url": store_url,
            "run_dir": str(run_dir.path),
            "started_at": time.time(),
        }
        run_dir.write_cluster(description)
        reporter.ready(description)
        stop.wait()
        reporter.say("stopping")
    finally:
        stop.starting = False
        doors.stop(DOORS_GRACE_S)
        end_actors(cluster.name)


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


def _end_predecessor(cluster: Cluster, run_dir: RunDirectory) -> None:
    """A joined Ray may still run a controller of this name: ours if its launcher was killed, else somebody's."""
    import ray

    try:
        controller = ray.get_actor(controller_name(cluster.name), namespace=NAMESPACE)
    except ValueError:
        return
    try:
        status: Any = ray.get(controller.status.remote(), timeout=10)
        other = status["run_dir"]
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        other = None
    if other != str(run_dir.path):
        raise StartError(
            f"a cluster called {cluster.name!r} runs on this Ray already" + (f", from {other}" if other else ""),
            "choose another --name, or stop it with `pdctl down --run-dir`",
        )
    end_actors(cluster.name)
