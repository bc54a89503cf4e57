"""Names of what a cluster owns in Ray."""

from __future__ import annotations

NAMESPACE = "tandem"
"""The Ray namespace of every actor and placement group."""


def controller_name(cluster: str) -> str:
    """The controller's actor."""
    return f"tandem-{cluster}-controller"


def host_name(cluster: str, worker: str) -> str:
    """A worker's host actor, and its placement group."""
    return f"tandem-{cluster}-worker-{worker}"


def worker_of(cluster: str, actor: str) -> str | None:
    """The worker whose host is called `actor`, or None for another actor."""
    prefix = host_name(cluster, "")
    return actor.removeprefix(prefix) if actor.startswith(prefix) else None


def pool_worker(pool: str, index: int) -> str:
    """The `index`-th worker of a pool, counting from 0."""
    return f"{pool}-{index}"
