"""Processes of a cluster that a campaign strikes, and when each has been replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """The living processes of a kind, in order of name."""
    store = cluster.store
    if kind == "controller":
        pid = _document(cluster, "controller", "main").get("pid", 0)
        return [Victim(kind, "main", pid, lambda: _document(cluster, "controller", "main").get("pid", 0) != pid)]
    if kind == "front door":
        return [
            Victim(kind, name, doc["pid"], lambda n=name, p=doc["pid"]: _other(cluster, "frontdoor", n, "pid", p))  # type: ignore[misc]
            for name, doc in store.list("frontdoor").items()
        ]
    roles = {name: doc["role"] for name, doc in store.list("worker").items()}
    field = "host_pid" if kind == "worker host" else "pid"
    return [
        Victim(kind, name, doc[field], lambda n=name, p=doc[field]: _serves_again(cluster, n, field, p))  # type: ignore[misc]
        for name, doc in store.list("endpoint").items()
        if doc["state"] == "ready" and (kind == "worker host" or kind.startswith(roles.get(name, "none")))
    ]


def _document(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    return cluster.store.get(kind, name) or {}


def _other(cluster: Cluster, kind: str, name: str, field: str, pid: int) -> bool:
    return bool(_document(cluster, kind, name).get(field, pid) != pid)


def _serves_again(cluster: Cluster, name: str, field: str, pid: int) -> bool:
    document = _document(cluster, "endpoint", name)
    return bool(document.get("state") == "ready" and document.get(field, pid) != pid)
