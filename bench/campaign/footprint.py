"""What the processes of a cluster hold: file descriptors, threads, asyncio tasks, memory."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import grpc

from bench.campaign.cluster import Cluster
from pd.v1 import worker_pb2, worker_pb2_grpc

_TASKS = re.compile(r"^pd_frontdoor_tasks (\S+)$", re.MULTILINE)
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
SLACK = 2


@dataclass(frozen=True, slots=True)
class Footprint:
    """One process. `tasks` is 0 for processes without an event loop of ours (hosts)."""

    descriptors: int
    threads: int
    tasks: int
    rss_bytes: int

    def grown(self, before: Footprint) -> dict[str, int]:
        """What there is more of than before, memory apart, by more than SLACK: libraries open some when they are first needed."""
        pairs = {name: getattr(self, name) - getattr(before, name) for name in ("descriptors", "threads", "tasks")}
        return {name: more for name, more in pairs.items() if more > SLACK}


def footprints(cluster: Cluster, *, engines: bool = True) -> dict[str, Footprint]:
    """Front doors, hosts and, if wanted, worker engines, by name. With several front doors their tasks are not counted."""
    doors = {name: doc["pid"] for name, doc in cluster.store.list("frontdoor").items()}
    found = {name: _of(pid, _door_tasks(cluster.url) if len(doors) == 1 else 0) for name, pid in doors.items()}
    for name, doc in cluster.store.list("endpoint").items():
        if engines:
            found[name] = _of(doc["pid"], _worker_tasks(doc["address"]))
        found[f"host of {name}"] = _of(doc["host_pid"], 0)
    return found


def rss_bytes(pid: int) -> int:
    """Resident memory."""
    match = _RSS.search(Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) * 1024 if match else 0


def _of(pid: int, tasks: int) -> Footprint:
    process = Path(f"/proc/{pid}")
    descriptors, threads = (sum(1 for _ in (process / kind).iterdir()) for kind in ("fd", "task"))
    return Footprint(descriptors, threads, tasks, rss_bytes(pid))


def _door_tasks(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
        match = _TASKS.search(reply.read().decode())
    return int(float(match[1])) if match else 0


def _worker_tasks(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        call = worker_pb2_grpc.WorkerStub(channel).CheckIntegrity
        return int(call(worker_pb2.CheckIntegrityRequest(), timeout=10).tasks)
