"""No fine-tuning beside decode.

What: leaves the device to serving.
Inputs: none.
Behaviour: returns no work units; holds forever.
Parameters: none.
Source: the baseline without co-location.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.decisions import Reason
from orchestrator.policies.harvesting.base import Harvest
from orchestrator.policies.policy import policy


@policy
@dataclass(frozen=True, slots=True)
class NoHarvesting:
    """A `HarvestingPolicy`."""

    def units(self, decode_tokens: int, decode_context_tokens: int, tpot_slo_s: float | None) -> Harvest:
        return Harvest(0, Reason.FIXED, valid_steps=0)
