"""A wish to restart a worker, as it stands in `worker/NAME`."""

from __future__ import annotations

from orchestrator.state.base import Document


def wanted(worker: Document, incarnation: int, budget_s: float, force: bool, now: float) -> Document:
    """The worker document that asks for a restart of `incarnation` (0: there is none yet).

    `restart.before` is how the worker is left afterwards: one that was drained stays drained.
    """
    already = worker.get("restart")
    before = already["before"] if already else {"drain": worker["drain"], "drained": worker["drained"]}
    drain = worker["drain"] if worker["drained"] else {"budget_s": budget_s, "requested_at": now}
    restart = {"incarnation": incarnation, "force": force, "before": before}
    return {**worker, "drain": drain, "restart": restart}


def undone(worker: Document) -> Document:
    """The worker document without its restart, taking work as before it."""
    restart = worker.get("restart")
    return {**worker, **(restart["before"] if restart else {}), "restart": None}
