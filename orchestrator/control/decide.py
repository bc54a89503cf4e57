"""Asks the policies that run in the controller, scaling and rebalancing, and writes what they decide into the store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from orchestrator.control.drain import draining
from orchestrator.control.probe import Seen
from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.config import Policies
from orchestrator.policies import registry
from orchestrator.policies.scaling.base import Resize, RoleChange
from orchestrator.state import Document, Store
from orchestrator.state.events import Event, record


def view_of(workers: Mapping[str, Document], seen: Mapping[str, Seen | None], time_s: float) -> ClusterView:
    """The cluster as the workers' last answers show it. Workers that did not answer accept nothing."""
    view = ClusterView.empty(list(workers))
    view.time_s = time_s
    for row, (name, worker) in enumerate(workers.items()):
        view.role[row] = int(Role.parse(worker["role"]))
        answer = seen.get(name)
        if answer is None:
            continue
        status = answer.description.status
        view.accepts[row] = not worker["drained"] and not draining(worker)
        view.running[row] = status.running
        view.waiting[row] = status.waiting
        view.outstanding_prefill_tokens[row] = status.waiting_prefill_tokens
        view.decode_context_tokens[row] = status.decode_context_tokens
        view.kv_used_blocks[row] = status.kv_used_blocks
        view.kv_total_blocks[row] = status.kv_total_blocks
        view.block_tokens[row] = answer.description.block_tokens
        view.step_time_s[row] = status.step_time_s
        view.age_s[row] = time_s - answer.asked_at
    return view


class Decisions:
    """Policies as `policy/DECISION` names them. A document that names no policy leaves the one in force."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents: dict[str, Document] = {}
        self._policies: dict[str, Any] = {}

    def write_missing(self, policies: Policies) -> None:
        """Write the configured policy of each decision that has none in the store."""
        present = self._store.list("policy")
        for field in fields(policies):
            if field.name not in present:
                choice = getattr(policies, field.name)
                wanted = {"name": choice.name, "parameters": dict(choice.parameters)}
                self._store.update("policy", field.name, lambda now, wanted=wanted: now or wanted)  # type: ignore[misc]

    def tick(self, workers: Mapping[str, Document], seen: Mapping[str, Seen | None]) -> None:
        """One decision of each policy, carried out."""
        self._refresh()
        view = view_of(workers, seen, time.monotonic())
        if "scaling" in self._policies:
            for change in self._policies["scaling"].decide(view):
                self._change_role(view, change) if isinstance(change, RoleChange) else self._resize(change)
        if "rebalancing" in self._policies:
            for move in self._policies["rebalancing"].decide(view):
                message = (
                    f"{view.names[move.source]} to {view.names[move.target]}: workers cannot hand over running requests"
                )
                record(self._store, "request", move.request_id, Event.MOVE_IGNORED, message)

    def _refresh(self) -> None:
        documents = self._store.list("policy")
        for decision in ("scaling", "rebalancing"):
            document = documents.get(decision)
            if document is None or document == self._documents.get(decision):
                continue
            self._documents[decision] = document
            try:
                self._policies[decision] = registry.make(decision, document["name"], document["parameters"])
            except ValueError as error:
                record(self._store, "policy", decision, Event.POLICY_INVALID, str(error))

    def _change_role(self, view: ClusterView, change: RoleChange) -> None:
        name, role = view.names[change.worker], str(change.role)
        self._store.update("worker", name, lambda now: now and {**now, "role": role})
        record(self._store, "worker", name, Event.ROLE_CHANGED, f"now {role}: {change.reason}")

    def _resize(self, change: Resize) -> None:
        """Bring the pools of a role to `count` workers together; the first of them gives and takes."""
        role = str(change.role)
        resized = ""

        def resize(spec: Document | None) -> Document | None:
            nonlocal resized
            pools = [p for p in spec["spec"]["pools"] if p["role"] == role] if spec else []
            total = sum(p["count"] for p in pools)
            if spec is None or not pools or total == change.count:
                return spec
            first = {**pools[0], "count": max(0, pools[0]["count"] + change.count - total)}
            resized = f"{first['name']} from {pools[0]['count']} to {first['count']} workers: {change.reason}"
            new = [first if p is pools[0] else p for p in spec["spec"]["pools"]]
            return {**spec, "spec": {**spec["spec"], "pools": new}}

        self._store.update("cluster", "spec", resize)
        if resized:
            record(self._store, "pool", role, Event.POOL_SCALED, resized)
