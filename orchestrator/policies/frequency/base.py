"""Frequency: which clock a worker runs at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.core.decisions import Reason


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that holds for `valid_steps` iterations of an unchanged batch (0: forever)."""

    mhz: int
    reason: Reason
    valid_steps: int = 1


class FrequencyPolicy(Protocol):
    """Decides before an engine's iteration."""

    def clock_mhz(self, supported_mhz: Sequence[int], decode_tokens: int, prefill_tokens: int) -> Clock:
        """One of `supported_mhz` for an iteration of these tokens; raises ValueError if there is none to choose from."""
