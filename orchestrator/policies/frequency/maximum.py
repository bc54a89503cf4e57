"""The highest clock, always.

What: runs every iteration as fast as the device can.
Inputs: the clocks that the device supports.
Behaviour: returns the highest; it holds forever.
Parameters: none.
Source: the default of every driver; the baseline for energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.decisions import Reason
from orchestrator.policies.frequency.base import Clock
from orchestrator.policies.policy import policy


@policy
@dataclass(frozen=True, slots=True)
class Maximum:
    """A `FrequencyPolicy`."""

    def clock_mhz(self, supported_mhz: Sequence[int], decode_tokens: int, prefill_tokens: int) -> Clock:
        if not supported_mhz:
            raise ValueError("the device supports no clocks: frequency policies need at least one")
        return Clock(max(supported_mhz), Reason.FIXED, valid_steps=0)
