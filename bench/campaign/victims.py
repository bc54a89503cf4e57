"""Processes of a cluster that a campaign strikes, and when each has been replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.campaign.cluster import Cluster

KINDS = ("decode engine", "prefill engine", "worker host", "controller", "front door")


@dataclass(frozen=True, slots=True)
class Victim:
    """One process. `replaced()` is true once another one does its work."""

    kind: str
    name: str
    pid: int
    replaced: Callable[[], bool]


def victims(cluster: Cluster, kind: str) -> list[Victim]:
    """Processes of a kind that may be struck now, in order of name: those that run, and of which another can do the work.

    A decode worker can do a prefill worker's work, so the last decode worker is spared.
    """
    store = cluster.store
    if kind == "controller":
        pid = _document(cluster, "controller", "main").get("pid", 0)
        return [_victim(cluster, kind, "controller", "main", "pid", pid)] if runs(pid) else []
    if kind == "front door":
        doors = {name: doc["pid"] for name, doc in store.list("frontdoor").items() if runs(doc["pid"])}
        return [_victim(cluster, kind, "frontdoor", name, "pid", pid) for name, pid in doors.items() if len(doors) > 1]
    roles = {name: doc["role"] for name, doc in store.list("worker").items()}
    serving = {name: doc for name, doc in store.list("endpoint").items() if name in roles and _serves(doc)}
    decoders = {name for name in serving if roles[name] == "decode"}
    field = "host_pid" if kind == "worker host" else "pid"
    return [
        _victim(cluster, kind, "endpoint", name, field, doc[field])
        for name, doc in serving.items()
        if decoders - {name} and (kind == "worker host" or kind.startswith(roles[name]))
    ]


def runs(pid: int) -> bool:
    """The process exists, has not ended and is not stopped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZXTt"


def _victim(cluster: Cluster, kind: str, table: str, name: str, field: str, pid: int) -> Victim:
    def replaced() -> bool:
        document = _document(cluster, table, name)
        other = document.get(field, pid) != pid
        return other and (table != "endpoint" or _serves(document))

    return Victim(kind, name, pid, replaced)


def _serves(endpoint: dict[str, Any]) -> bool:
    return endpoint["state"] == "ready" and runs(endpoint["pid"]) and runs(endpoint["host_pid"])


def _document(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    return cluster.store.get(kind, name) or {}
