"""What the controller itself writes into `worker/NAME`, each with its event."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.control.reconcile import leaving
from orchestrator.state import Document, Store
from orchestrator.state.events import Event, record
from orchestrator.state.restarts import undone


@dataclass(frozen=True, slots=True)
class Desired:
    """Every change is made only if the document still is as the caller saw it; otherwise the next tick decides again."""

    store: Store

    def create(self, name: str, pool: str, role: str, index: int) -> None:
        """A worker that a pool wants."""
        wanted = {"name": name, "pool": pool, "role": role, "index": index, "drain": None, "drained": False}
        self.store.update("worker", name, lambda now: now or wanted)
        record(self.store, "worker", name, Event.WORKER_CREATED, f"pool {pool}, role {role}")

    def retire(self, name: str, seen: Document, budget_s: float) -> None:
        """Drain a worker that nobody wants any more."""
        drain = {"budget_s": budget_s, "requested_at": time.time(), "leaving": True}
        if self._change(name, seen, lambda now: {**now, "drain": drain, "restart": None}):
            record(self.store, "worker", name, Event.WORKER_LEAVING, f"finishes its work within {budget_s:g} s")

    def keep(self, name: str, seen: Document) -> None:
        """A leaving worker is wanted again."""
        if self._change(name, seen, lambda now: {**now, "drain": None, "drained": False} if leaving(now) else now):
            record(self.store, "worker", name, Event.WORKER_STAYS, "wanted again; takes work")

    def remove(self, name: str, busy: bool) -> None:
        """A worker that has left."""
        self.store.delete("worker", name)
        message = "its time was up before its work was; front doors carry on with it elsewhere" if busy else ""
        record(self.store, "worker", name, Event.WORKER_REMOVED, message)

    def drained(self, name: str, seen: Document, seconds: float) -> None:
        """Nothing is left on it, `seconds` after the controller first saw that it shall drain."""
        if self._change(name, seen, lambda now: {**now, "drained": True}):
            record(self.store, "worker", name, Event.DRAINED, f"nothing left after {seconds:.1f} s")

    def exceeded(self, name: str, seen: Document) -> None:
        """Its budget is over and work is left."""
        if self._change(name, seen, lambda now: {**now, "drain": {**now["drain"], "exceeded": True}}):
            message = f"still busy after {seen['drain']['budget_s']:g} s"
            if not seen.get("restart") and not seen["drain"].get("leaving"):
                message += "; takes no new work and finishes what runs"
            record(self.store, "worker", name, Event.DRAIN_BUDGET_EXCEEDED, message)

    def restarted(self, name: str, seen: Document, pid: int) -> None:
        """The new engine serves."""
        if self._change(name, seen, undone):
            record(
                self.store, "worker", name, Event.RESTARTED, f"ready and warm as process {pid}; takes work as before"
            )

    def restart_given_up(self, name: str, seen: Document) -> None:
        """Work was left when the budget was over."""
        budget_s = (seen["drain"] or {}).get("budget_s", 0.0)
        why = f"still busy after {budget_s:g} s" if seen["drain"] else "somebody let it take work again"
        if self._change(name, seen, undone):
            record(self.store, "worker", name, Event.RESTART_GIVEN_UP, f"{why}; takes work again, not restarted")

    def _change(self, name: str, seen: Document, change: Callable[[Document], Document]) -> bool:
        applied = False

        def update(now: Document | None) -> Document | None:
            nonlocal applied
            applied = now is not None and all(now.get(key) == seen.get(key) for key in ("drain", "drained", "restart"))
            return change(now) if applied and now is not None else now

        self.store.update("worker", name, update)
        return applied
