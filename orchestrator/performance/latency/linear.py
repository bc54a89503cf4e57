"""Iteration time linear in the KV tokens of the batch, for theory and for models fitted elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.row import Row


@dataclass(frozen=True, slots=True)
class Linear:
    """A `LatencyModel`: base + context·Σ(KV tokens) + prefill·(prompt tokens) + request·(requests), 0 for an empty batch.

    KV tokens are those of every batched request, also of the ones in prefill: l + s at stage s. With the last two terms 0 it
    is the paper's model, else its backend (b). Independent of SM share and clock. Source: WAIT §2, §7.
    """

    base_s: float
    per_context_token_s: float
    per_prefill_token_s: float = 0.0
    per_request_s: float = 0.0

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """Seconds per row of `batch`; broadcast with `point`, which changes nothing."""
        requests = np.asarray(batch.prefill_requests, np.float64) + batch.decode_requests
        context = np.asarray(batch.prefill_context_tokens, np.float64) + batch.decode_context_tokens
        seconds = (
            self.base_s
            + self.per_context_token_s * context
            + self.per_prefill_token_s * np.asarray(batch.prefill_tokens, np.float64)
            + self.per_request_s * requests
        )
        shape = np.broadcast_shapes(np.shape(point.sm_share), np.shape(point.clock), seconds.shape)
        return np.broadcast_to(np.where(requests > 0, seconds, 0.0), shape)

    def one_s(self, row: Row[float], point: Point = FULL) -> float:
        """`iteration_s` of one row, in plain floats."""
        requests = row.prefill_requests + row.decode_requests
        if requests <= 0:
            return 0.0
        context = row.prefill_context_tokens + row.decode_context_tokens
        return (
            self.base_s
            + self.per_context_token_s * context
            + self.per_prefill_token_s * row.prefill_tokens
            + self.per_request_s * requests
        )
