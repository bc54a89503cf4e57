"""Requests stay where they are.

What: never moves a running request.
Inputs: none.
Behaviour: returns no moves.
Parameters: none.
Source: the baseline without migration.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.cluster import ClusterView
from orchestrator.policies.policy import policy
from orchestrator.policies.rebalancing.base import Move


@policy
@dataclass(frozen=True, slots=True)
class NoRebalancing:
    """A `RebalancingPolicy`."""

    def decide(self, view: ClusterView) -> list[Move]:
        return []
