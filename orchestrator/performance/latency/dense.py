"""Query-key pairs of kernels that do not skip what lies behind the causal mask."""

from __future__ import annotations

import numpy as np

from orchestrator.performance.batch import Array, Batch


def dense_pairs(batch: Batch) -> Array:
    """Σ q·(c + q) of the prefills of each row: every new token against every token of its request.

    Exact where no request has cached tokens, or all compute equally many; otherwise Σ q·c is taken as (Σ q)·(Σ c)/n, and never
    fewer than the causal pairs are returned.
    """
    tokens, pairs = np.asarray(batch.prefill_tokens, np.float64), np.asarray(batch.prefill_pairs, np.float64)
    cached = batch.prefill_context_tokens - tokens
    after_cached = tokens * cached / np.maximum(batch.prefill_requests, 1)
    return np.asarray(np.maximum(2 * pairs - tokens - after_cached, pairs))
