"""Scaling: how many workers each role has, and who changes role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.decisions import Reason


@dataclass(frozen=True, slots=True)
class RoleChange:
    """Give the worker in row `worker` another role."""

    worker: int
    role: Role
    reason: Reason


@dataclass(frozen=True, slots=True)
class Resize:
    """Bring the number of workers of a role to `count`."""

    role: Role
    count: int
    reason: Reason


class ScalingPolicy(Protocol):
    """Decides at every tick of the controller."""

    def decide(self, view: ClusterView) -> list[RoleChange | Resize]:
        """Changes to start now, in order."""
