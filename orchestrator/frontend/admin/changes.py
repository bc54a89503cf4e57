"""What Admin may change: drains, roles and policies, all by writing desired state."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from orchestrator.core.cluster import Role
from orchestrator.core.config.settings import snake
from orchestrator.policies import registry
from orchestrator.state import Document, Store
from orchestrator.state.events import Event, record


@dataclass(frozen=True, slots=True)
class Changes:
    """Writes to the store; every call blocks, and each records an event. Workers that do not exist give None."""

    store: Store

    def drain(self, worker: str, budget_s: float) -> Document | None:
        """Ask `worker` to take no new work. A drain that goes on gets the new budget, counted from now."""
        wanted = {"budget_s": budget_s, "requested_at": time.time()}
        document = self._worker(worker, lambda now: {**now, "drain": now["drain"] if now["drained"] else wanted})
        if document is not None and not document["drained"]:
            record(self.store, "worker", worker, Event.DRAIN_REQUESTED, f"budget {budget_s:g} s")
        return document

    def resume(self, worker: str) -> Document | None:
        """Let `worker` take work again."""
        document = self._worker(worker, lambda now: {**now, "drain": None, "drained": False})
        if document is not None:
            record(self.store, "worker", worker, Event.DRAIN_RESUMED)
        return document

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
