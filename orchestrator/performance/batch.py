"""What an iteration computes, as the sums that decide how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Iterations, one per row. Fields are arrays of one shape (n,), or scalars that broadcast.

    For a request that computes q prompt tokens after c cached ones, and for one that decodes with context k (its newest token included):
    `prefill_tokens` Σ q; `prefill_pairs` Σ q·(c + (q+1)/2), the causal query-key pairs; `prefill_context_tokens` Σ (c + q), the KV
    read; `prefill_requests` their number; `decode_requests` the number of decoding ones; `decode_context_tokens` Σ k.
    """

    prefill_tokens: Array | float = 0.0
    prefill_pairs: Array | float = 0.0
    prefill_context_tokens: Array | float = 0.0
    prefill_requests: Array | float = 0.0
    decode_requests: Array | float = 0.0
    decode_context_tokens: Array | float = 0.0

    @classmethod
    def prefill(cls, requests: Array | float, tokens: Array | float, cached_tokens: Array | float = 0.0) -> Self:
        """`requests` prompts of `tokens` new tokens each, after `cached_tokens` each."""
        tokens, cached = np.asarray(tokens, np.float64), np.asarray(cached_tokens, np.float64)
        pairs = tokens * (cached + (tokens + 1) / 2)
        return cls(requests * tokens, requests * pairs, requests * (cached + tokens), requests)

    @classmethod
    def decode(cls, requests: Array | float, context_tokens: Array | float) -> Self:
        """`requests` that decode with `context_tokens` each."""
        requests = np.asarray(requests, np.float64)
        return cls(decode_requests=requests, decode_context_tokens=requests * context_tokens)
