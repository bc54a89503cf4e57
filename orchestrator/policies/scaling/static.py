"""The workers that the configuration asks for, in the roles that it gives them.

What: changes nothing.
Inputs: none.
Behaviour: returns no changes; pools keep their count, and workers the role that the configuration or an operator set.
Parameters: none.
Source: the baseline of a fixed prefill-to-decode ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.cluster import ClusterView
from orchestrator.policies.policy import policy
from orchestrator.policies.scaling.base import Resize, RoleChange


@policy
@dataclass(frozen=True, slots=True)
class Static:
    """A `ScalingPolicy`."""

    def decide(self, view: ClusterView) -> list[RoleChange | Resize]:
        return []
