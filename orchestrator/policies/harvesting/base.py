"""Harvesting: how much fine-tuning runs beside a decode step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.core.decisions import Reason


@dataclass(frozen=True, slots=True)
class Harvest:
    """Work units of fine-tuning per step; holds for `valid_steps` steps of an unchanged batch (0: forever)."""

    units: int
    reason: Reason
    valid_steps: int = 1


class HarvestingPolicy(Protocol):
    """Decides before an engine's decode step."""

    def units(self, decode_tokens: int, decode_context_tokens: int, tpot_slo_s: float | None) -> Harvest:
        """Units to run beside a step of these tokens, whose requests want a TPOT of `tpot_slo_s` (None: no bound)."""
