"""Chunked prefill: decode first, prompts fill what is left of a token budget.

What: bounds the tokens of an iteration, and so the time between two tokens of a running request.
Inputs: requests that decode in this iteration.
Behaviour: every running request decodes; prompts get `budget_tokens` less those, but at least `min_prefill_tokens`, so
    that a full batch cannot starve them. Holds until the batch changes.
Parameters: budget_tokens, min_prefill_tokens.
Source: Sarathi-Serve (OSDI '24), section 4.2: stall-free batching.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from orchestrator.core.decisions import IterationPlan, Reason
from orchestrator.policies.policy import parameter, policy


@policy
@dataclass(frozen=True, slots=True)
class Chunked:
    """A `MultiplexingPolicy`."""

    budget_tokens: int = parameter("tokens of one iteration, decode included", 512, minimum=1, maximum=2**20)
    min_prefill_tokens: int = parameter("prompt tokens that an iteration always allows", 16, minimum=1, maximum=2**20)

    def plan(self, decode_tokens: int, waiting_prefill_tokens: int) -> IterationPlan:
        return _plan(max(self.budget_tokens - decode_tokens, self.min_prefill_tokens))


@lru_cache(maxsize=4096)
def _plan(prefill_budget_tokens: int) -> IterationPlan:
    """Plans repeat with the size of the batch; making one takes longer than finding it."""
    return IterationPlan(prefill_budget_tokens, Reason.TOKEN_BUDGET, valid_steps=0)
