"""What Admin may change: drains, restarts, sizes, roles and policies, all by writing desired state."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from orchestrator.core.cluster import Role
from orchestrator.core.config import parse
from orchestrator.core.config.settings import snake
from orchestrator.policies import registry
from orchestrator.state import Document, Store
from orchestrator.state.events import Event, record
from orchestrator.state.restarts import undone, wanted


@dataclass(frozen=True, slots=True)
class Changes:
    """Writes to the store; every call blocks, and each records an event. Workers that do not exist give None."""

    store: Store

    def drain(self, worker: str, budget_s: float) -> Document | None:
        """Ask `worker` to take no new work. A drain that goes on gets the new budget, counted from now."""
        asked = {"budget_s": budget_s, "requested_at": time.time()}

        def change(now: Document) -> Document:
            # A worker that nobody wants any more goes on leaving, with this budget.
            leaving = {"leaving": True} if (now["drain"] or {}).get("leaving") else {}
            drain = now["drain"] if now["drained"] else asked | leaving
            if restart := now.get("restart"):
                # It stays drained after its restart.
                restart = {**restart, "before": {**restart["before"], "drain": asked}}
            return {**now, "drain": drain, "restart": restart}

        document = self._worker(worker, change)
        if document is not None and not document["drained"]:
            record(self.store, "worker", worker, Event.DRAIN_REQUESTED, f"budget {budget_s:g} s")
        return document

    def resume(self, worker: str) -> Document | None:
        """Let `worker` take work again."""
        document = self._worker(worker, lambda now: {**now, "drain": None, "drained": False, "restart": None})
        if document is not None:
            record(self.store, "worker", worker, Event.DRAIN_RESUMED)
        return document

    def restart(self, worker: str, budget_s: float, force: bool) -> Document | None:
        """Ask for new processes of `worker`; asking again changes budget and force."""
        endpoint = self.store.get("endpoint", worker) or {}
        incarnation, at = endpoint.get("incarnation", 0), time.time()

        def change(now: Document) -> Document:
            again = now.get("restart")
            return wanted(now, again["incarnation"] if again else incarnation, budget_s, force, at)

        document = self._worker(worker, change)
        if document is not None:
            record(self.store, "worker", worker, Event.RESTART_REQUESTED, f"budget {budget_s:g} s")
        return document

    def cancel_restart(self, worker: str) -> Document | None:
        """Take back a restart of `worker` that has not stopped it yet, which the endpoint tells."""
        endpoint = self.store.get("endpoint", worker) or {}

        def change(now: Document) -> Document:
            restart = now.get("restart")
            stops = restart and (now["drained"] or restart["incarnation"] != endpoint.get("incarnation"))
            return now if not restart or stops else undone(now)

        return self._worker(worker, change)

    def scale(self, pool: str, count: int) -> Document | None:
        """Give `pool` so many workers; None if there is no such pool. Raises ConfigError if the cluster could not work then."""
        before = 0

        def change(spec: Document | None) -> Document | None:
            nonlocal before
            if spec is None or pool not in [p["name"] for p in spec["spec"]["pools"]]:
                return spec
            before = next(p["count"] for p in spec["spec"]["pools"] if p["name"] == pool)
            pools = [{**p, "count": count} if p["name"] == pool else p for p in spec["spec"]["pools"]]
            new = {**spec, "spec": {**spec["spec"], "pools": pools}}
            parse(new)
            return new

        spec = self.store.update("cluster", "spec", change)
        document = next((p for p in spec["spec"]["pools"] if p["name"] == pool), None) if spec else None
        if document is not None and before != count:
            record(self.store, "pool", pool, Event.POOL_SCALED, f"from {before} to {count} workers")
        return document

    def set_pool_role(self, pool: str, role: Role) -> None:
        """Give all workers of `pool` another role."""
        for name, worker in self.store.list("worker").items():
            if worker["pool"] == pool and worker["role"] != str(role):
                self.set_role(name, role)

    def set_role(self, worker: str, role: Role) -> Document | None:
        """Give `worker` another role; what runs there goes on."""
        document = self._worker(worker, lambda now: {**now, "role": str(role)})
        if document is not None:
            record(self.store, "worker", worker, Event.ROLE_CHANGED, f"now {role}")
        return document

    def set_policy(self, decision: str, name: str, parameters: dict[str, Any]) -> Document:
        """Choose a policy (parameters in snake_case or camelCase); raises ValueError that says what would be right."""
        registry.make(decision, name, parameters)
        document = {"name": name, "parameters": {snake(key): value for key, value in parameters.items()}}
        self.store.put("policy", decision, document)
        record(
            self.store, "policy", decision, Event.POLICY_CHANGED, f"now {name} {document['parameters'] or ''}".rstrip()
        )
        return document

    def _worker(self, name: str, change: Any) -> Document | None:
        return self.store.update("worker", name, lambda now: None if now is None else change(now))
