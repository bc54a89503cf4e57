"""The fields of a batch as numbers of one kind: arrays for many iterations, floats for one."""

from __future__ import annotations

from typing import Generic, NamedTuple

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.latency.dispatch import Number


class Row(NamedTuple, Generic[Number]):
    """Names and order as in `Batch`."""

    prefill_tokens: Number
    prefill_pairs: Number
    prefill_context_tokens: Number
    prefill_requests: Number
    decode_requests: Number
    decode_context_tokens: Number


def arrays(batch: Batch) -> Row[Array]:
    """The fields, as float arrays that broadcast."""
    return Row(*(np.asarray(getattr(batch, name), np.float64) for name in Row._fields))


def one(
    prefill_tokens: float = 0.0,
    prefill_pairs: float = 0.0,
    prefill_context_tokens: float = 0.0,
    prefill_requests: float = 0.0,
    decode_requests: float = 0.0,
    decode_context_tokens: float = 0.0,
) -> Row[float]:
    """One iteration."""
    return Row(
        prefill_tokens,
        prefill_pairs,
        prefill_context_tokens,
        prefill_requests,
        decode_requests,
        decode_context_tokens,
    )
