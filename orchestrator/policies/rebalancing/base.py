"""Rebalancing: which running request moves to which decode worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.core.cluster import ClusterView
from orchestrator.core.decisions import Reason


@dataclass(frozen=True, slots=True)
class Move:
    """Take a running request from one row of the view to another."""

    request_id: str
    source: int
    target: int
    reason: Reason


class RebalancingPolicy(Protocol):
    """Decides at every tick of the controller."""

    def decide(self, view: ClusterView) -> list[Move]:
        """Moves to start now, most urgent first."""
