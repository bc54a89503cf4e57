"""Query-key pairs of kernels that do not skip what lies behind the causal mask."""

from __future__ import annotations

from orchestrator.performance.latency.arithmetic import Arithmetic
from orchestrator.performance.latency.dispatch import Number
from orchestrator.performance.latency.row import Row


def dense_pairs(row: Row[Number], arithmetic: Arithmetic[Number]) -> Number:
    """Σ q·(c + q) of the prefills: every new token against every token of its request.

    Exact where no request has cached tokens, or all compute equally many; otherwise Σ q·c is taken as (Σ q)·(Σ c)/n, and never
    fewer than the causal pairs are returned.
    """
    tokens, cached = row.prefill_tokens, row.prefill_context_tokens - row.prefill_tokens
    after_cached = tokens * cached / arithmetic.maximum(row.prefill_requests, 1.0)
    return arithmetic.maximum(2 * row.prefill_pairs - tokens - after_cached, row.prefill_pairs)
