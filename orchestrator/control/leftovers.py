"""Finds and ends what a cluster left behind: processes that carry its mark, and actors on a Ray that outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from orchestrator.control.names import NAMESPACE, controller_name
from orchestrator.control.rundir import RunDirectory
from workers.host import OWNER

STOP_S = 30.0


def exists(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def leftovers(run_dir: RunDirectory) -> list[int]:
    """Processes of this user, other than this one, that were started for the cluster in `run_dir`."""
    mark = f"{OWNER}={run_dir.path}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0") and exists(int(entry.name)):
                    found.append(int(entry.name))
    return found


def end_leftovers(run_dir: RunDirectory, patience_s: float = 5.0) -> int:
    """Give them `patience_s` to end by themselves, then SIGKILL; returns how many had to be killed."""
    deadline = time.monotonic() + patience_s
    while leftovers(run_dir) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed: set[int] = set()
    while remaining := leftovers(run_dir):
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(remaining)
        time.sleep(0.05)
    return len(killed)


def end_actors(cluster: str) -> None:
    """End the controller and all hosts of `cluster` on the Ray that this process is connected to."""
    import ray
    from ray.util import get_placement_group, list_named_actors, remove_placement_group

    from orchestrator.control.names import host_name, worker_of

    with contextlib.suppress(ValueError):
        controller = ray.get_actor(controller_name(cluster), namespace=NAMESPACE)
        with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            ray.get(controller.stop.remote(), timeout=STOP_S)
        ray.kill(controller, no_restart=True)
    for actor in list_named_actors():
        worker = worker_of(cluster, actor)
        if worker is not None:
            with contextlib.suppress(ValueError):
                ray.kill(ray.get_actor(actor, namespace=NAMESPACE), no_restart=True)
            with contextlib.suppress(ValueError):
                remove_placement_group(get_placement_group(host_name(cluster, worker)))
