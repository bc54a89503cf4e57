"""Multiplexing: how prefill and decode share one worker in one iteration."""

from __future__ import annotations

from typing import Protocol

from orchestrator.core.decisions import IterationPlan


class MultiplexingPolicy(Protocol):
    """Decides before an engine's iteration."""

    def plan(self, decode_tokens: int, waiting_prefill_tokens: int) -> IterationPlan:
        """Share an iteration between `decode_tokens` (one per running request) and prompt tokens that wait."""
