"""Applies a cluster.yaml to a running cluster: the spec in force, what a new one changes, and the writes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.cluster import Role
from orchestrator.core.config import Cluster, dump, parse
from orchestrator.core.config.settings import camel, snake
from orchestrator.frontend.admin.changes import Changes
from orchestrator.frontend.admin.difference import Difference, Effect, differences
from orchestrator.state import Document, Store
from orchestrator.state.events import Event, record

PORTS = ("httpPort", "grpcPort")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the front door answers; the spec may say 0, which takes a free one."""

    http: int
    grpc: int


class Conflict(Exception):
    """Somebody else changed the spec at the same time."""


def in_force(spec: Document, policies: Mapping[str, Document], ports: Ports) -> Document:
    """The spec as it holds: with the policies that were chosen since the start, and the ports that were free."""
    out = copy.deepcopy(spec)
    for decision, choice in policies.items():
        parameters = {camel(key): value for key, value in choice["parameters"].items()}
        out["spec"]["policies"][decision] = {"name": choice["name"], "parameters": parameters}
    door = out["spec"]["frontDoor"]
    for key, port in zip(PORTS, (ports.http, ports.grpc), strict=True):
        door[key] = port or door.get(key, 0)
    return out


@dataclass(frozen=True, slots=True)
class Applying:
    """A new spec beside the one in force. `stored` is what the store held when they were compared."""

    stored: Document
    new: Document
    changes: list[Difference]

    @classmethod
    def of(cls, store: Store, cluster: Cluster, ports: Ports) -> Applying:
        """Compare `cluster` with what is in force."""
        stored = store.get("cluster", "spec")
        assert stored is not None, "a front door starts only where the store holds cluster/spec"
        # The stored spec may lack defaults: only whole documents can be compared.
        old = in_force(dump(parse(stored)), store.list("policy"), ports)
        new = dump(cluster)
        for key in PORTS:
            # Whoever asks for the port that was asked for at the start, or for any, has it.
            if new["spec"]["frontDoor"].get(key) in (0, stored["spec"].get("frontDoor", {}).get(key)):
                new["spec"]["frontDoor"][key] = old["spec"]["frontDoor"][key]
        return cls(stored, new, differences(old, new))

    @property
    def refused(self) -> list[Difference]:
        """What would need a new start."""
        return [change for change in self.changes if change.effect is Effect.REFUSED]

    def write(self, changes: Changes) -> None:
        """Write it; raises Conflict if the spec is not what it was when it was compared."""
        if not self.changes:
            return
        new = copy.deepcopy(self.new)
        for key in PORTS:
            new["spec"]["frontDoor"][key] = self.stored["spec"].get("frontDoor", {}).get(key, 0)
        if changes.store.update("cluster", "spec", lambda now: new if now == self.stored else now) != new:
            raise Conflict
        paths = [change.path for change in self.changes]
        record(changes.store, "cluster", new["metadata"]["name"], Event.SPEC_APPLIED, ", ".join(paths))
        policies = new["spec"]["policies"]
        for path in paths:
            if path.startswith("spec.policies."):
                decision = path.removeprefix("spec.policies.")
                _policy(changes, decision, policies[decision])
        for pool in new["spec"]["pools"]:
            if f"spec.pools.{pool['name']}.role" in paths:
                changes.set_pool_role(pool["name"], Role.parse(pool["role"]))


def _policy(changes: Changes, decision: str, choice: Document) -> None:
    parameters: dict[str, Any] = {snake(key): value for key, value in choice["parameters"].items()}
    changes.set_policy(decision, choice["name"], parameters)
