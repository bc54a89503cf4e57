"""First come, first served: strictly in order of arrival, and nobody overtakes.

What: starts waiting requests until the batch or the KV pool is full.
Inputs: arrival times and prompt lengths; running requests; free KV blocks.
Behaviour: takes requests by arrival time (equal times: as queued), each with the blocks of its prompt and first output
    token, and stops at the first that does not fit, even if a later one would.
Parameters: none.
Source: the queue discipline of Orca (OSDI '22) and of vLLM's default scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.decisions import Admission, Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.policy import policy


@policy
@dataclass(frozen=True, slots=True)
class FirstComeFirstServed:
    """An `AdmissionPolicy`."""

    def admit(
        self, queue: Sequence[RequestView], running: int, free_blocks: int, block_tokens: int, max_batch: int
    ) -> Admission:
        admitted: list[int] = []
        # A preempted request rejoins at the end of the queue but keeps its arrival, so the queue need not be in order.
        order = sorted(range(len(queue)), key=lambda i: queue[i].arrival_s) if len(queue) > 1 else range(len(queue))
        for position in order:
            if running + len(admitted) >= max_batch:
                return Admission(tuple(admitted), Reason.BATCH_FULL)
            need_blocks = queue[position].prompt_tokens // block_tokens + 1
            if need_blocks > free_blocks:
                return Admission(tuple(admitted), Reason.KV_FULL)
            free_blocks -= need_blocks
            admitted.append(position)
        return Admission(tuple(admitted), Reason.ARRIVAL_ORDER)
