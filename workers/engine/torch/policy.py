"""The two decisions that the engine asks a policy for, and what it does when it was given none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.core.decisions import Admission, IterationPlan, Reason


class Multiplexing(Protocol):
    """Shares one iteration between decode and prefill."""

    def plan(self, decode_tokens: int, waiting_prefill_tokens: int) -> IterationPlan:
        """Prefill tokens to run beside `decode_tokens` decode tokens (one per decoding request)."""


class BatchAdmission(Protocol):
    """Chooses which waiting requests join the batch."""

    def admit(self, needed_blocks: Sequence[int], free_blocks: int, free_rows: int) -> Admission:
        """Positions in `needed_blocks` (blocks each waiting request would take, oldest first) that start now."""


@dataclass(frozen=True, slots=True)
class FixedBudget:
    """The same prefill budget in every iteration."""

    prefill_budget_tokens: int

    def plan(self, decode_tokens: int, waiting_prefill_tokens: int) -> IterationPlan:
        """The budget, whatever waits."""
        return IterationPlan(self.prefill_budget_tokens, Reason.FIXED, valid_steps=0)


@dataclass(frozen=True, slots=True)
class ArrivalOrder:
    """First come, first served: nobody overtakes a request that does not fit."""

    def admit(self, needed_blocks: Sequence[int], free_blocks: int, free_rows: int) -> Admission:
        """The longest head of the queue that fits."""
        count = 0
        for needed in needed_blocks:
            if count == free_rows:
                return Admission(tuple(range(count)), Reason.BATCH_FULL)
            free_blocks -= needed
            if free_blocks < 0:
                return Admission(tuple(range(count)), Reason.KV_FULL)
            count += 1
        return Admission(tuple(range(count)), Reason.ARRIVAL_ORDER)
