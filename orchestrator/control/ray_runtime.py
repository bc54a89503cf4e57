"""Starts a private Ray for this cluster, or joins one that runs."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from orchestrator.control.names import NAMESPACE
from orchestrator.control.problem import StartError
from orchestrator.core.config import Cluster

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100 << 20
REACH_S = 5.0
START_S = 240.0
STARTS = 3
"""A raylet gives its agents 15 s, fixed in its code, and ends without them; on a busy machine it is started again."""

# Read by Ray when it is imported or started. The object store is idle here, and nothing is reported to anybody.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_event_stats": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
}


@dataclass(frozen=True, slots=True)
class RayRuntime:
    """A connection to Ray; `directory` is the private Ray's own temporary directory, None when it was joined."""

    address: str
    directory: Path | None

    def stop(self) -> None:
        """Disconnect; a private Ray ends with all its processes."""
        import ray

        ray.shutdown()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


def start_ray(cluster: Cluster, directory: Path | None = None) -> RayRuntime:
    """Start or join Ray as `spec.ray.address` says; raises StartError with a remedy.

    A private Ray keeps its files in `directory`, whose path must be short (Unix sockets below it may have 107 characters).
    """
    address = cluster.spec.ray.address
    if address != "local":
        return join_ray(address)
    return _start(cluster, directory or Path(tempfile.mkdtemp(prefix="tandem-", dir="/tmp")))


def _quiet() -> None:
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})


class RayletEnded(OSError):
    """The raylet gave up while it started."""


def _start(cluster: Cluster, directory: Path) -> RayRuntime:
    _quiet()
    import ray

    others = {child.pid for child in psutil.Process().children()}
    for start in range(1, STARTS + 1):
        try:
            with _patience():
                _init(cluster, directory)
            break
        except Exception as error:
            _end_children(others)
            if isinstance(error, RayletEnded) and start < STARTS:
                log.warning("Ray: %s; starting it again", error)
                continue
            shutil.rmtree(directory, ignore_errors=True)
            raise StartError(
                f"Ray does not start: {error}", "free some memory, or name a running Ray in spec.ray.address"
            ) from error
    _end_log_monitor()
    return RayRuntime(ray.get_runtime_context().gcs_address, directory)


def _end_log_monitor() -> None:
    """It copies the logs of workers to drivers, looking for new lines ten times a second; ours writes none to its driver."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(word.endswith("log_monitor.py") for word in child.cmdline()):
                child.kill()
                child.wait(5.0)


def _init(cluster: Cluster, directory: Path) -> None:
    import ray

    wanted = sum(pool.count * pool.resources.cpus for pool in cluster.spec.pools)
    ray.init(
        address="local",
        namespace=NAMESPACE,
        # These cores are only an account. A laptop has fewer than its workers ask for, and may share them.
        num_cpus=max(os.cpu_count() or 1, int(wanted) + 1),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(directory),
    )


def _end_children(others: set[int]) -> None:
    """End what a start that failed has left: Ray does so only when this process ends."""
    left = [child for child in psutil.Process().children() if child.pid not in others]
    for child in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(left, timeout=5.0)


def _raylet_lives() -> bool:
    return any(
        child.name().startswith("raylet") and child.status() != psutil.STATUS_ZOMBIE
        for child in psutil.Process().children()
    )


@contextmanager
def _patience() -> Iterator[None]:
    """Ray gives its own node 30 s to appear, fixed in its code; on a busy machine the node takes minutes and then serves well."""
    from ray._private import services

    original = getattr(services, "get_node", None)
    if original is None:
        yield
        return
    deadline = time.monotonic() + START_S

    def get_node(*arguments: Any) -> Any:
        while True:
            try:
                return original(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                if not _raylet_lives():  # its agents had no 15 s of CPU time to start
                    raise RayletEnded("the raylet ended while it started") from None
                time.sleep(0.1)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = original


def join_ray(address: str) -> RayRuntime:
    """Join the Ray at `address` (`auto` or HOST:PORT); raises StartError within seconds if none answers."""
    _quiet()
    if (Path.home() / ".ray" / "auth_token").exists():
        # `ray start` asks for this token where there is one; `ray.init` does not present it by itself.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    remedy = "start it with `ray start --head`, correct spec.ray.address or RAY_AUTH_MODE, or use address `local`"
    if address != "auto" and not address.startswith("ray://"):
        host, _, port = address.rpartition(":")
        try:
            # Ray itself tries for minutes, and may end the process when it gives up.
            socket.create_connection((host, int(port)), REACH_S).close()
        except OSError as error:
            raise StartError(f"no Ray answers at {address} ({error.strerror or error})", remedy) from None
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except Exception as error:
        raise StartError(f"cannot join Ray at {address}: {error}", remedy) from error
    return RayRuntime(ray.get_runtime_context().gcs_address, None)
