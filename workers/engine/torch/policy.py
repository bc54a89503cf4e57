"""What the engine does when no policy was handed to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.decisions import Admission, IterationPlan, Reason
from orchestrator.core.request import RequestView


@dataclass(frozen=True, slots=True)
class FixedBudget:
    """A `MultiplexingPolicy`: the same prefill budget in every iteration."""

    prefill_budget_tokens: int

    def plan(self, decode_tokens: int, waiting_prefill_tokens: int) -> IterationPlan:
        """The budget, whatever waits."""
        return IterationPlan(self.prefill_budget_tokens, Reason.FIXED, valid_steps=0)


@dataclass(frozen=True, slots=True)
class ArrivalOrder:
    """An `AdmissionPolicy`: the head of the queue starts, and nobody overtakes a request that does not fit."""

    def admit(
        self, queue: Sequence[RequestView], running: int, free_blocks: int, block_tokens: int, max_batch: int
    ) -> Admission:
        """The longest head of the queue that fits, each request with room for its first output token."""
        for count, request in enumerate(queue):
            if running + count >= max_batch:
                return Admission(tuple(range(count)), Reason.BATCH_FULL)
            free_blocks -= request.prompt_tokens // block_tokens + 1
            if free_blocks < 0:
                return Admission(tuple(range(count)), Reason.KV_FULL)
        return Admission(tuple(range(len(queue))), Reason.ARRIVAL_ORDER)
