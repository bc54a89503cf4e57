"""What a worker's load is, and how the lightest is chosen."""

from __future__ import annotations

import numpy as np

from orchestrator.core.cluster import ClusterView, Ints


def prefill_load_tokens(view: ClusterView, rows: Ints) -> Ints:
    """Prompt tokens dispatched to each row and not yet computed."""
    return view.outstanding_prefill_tokens[rows]


def worker_load_tokens(view: ClusterView, rows: Ints) -> Ints:
    """As `prefill_load_tokens`; rows that also decode add what they decode, which slows their prompts down and fills their memory."""
    prompts, decodes = prefill_load_tokens(view, rows), view.decodes(rows)
    return prompts + decodes * decode_load_tokens(view, rows) if np.count_nonzero(decodes) else prompts


def decode_load_tokens(view: ClusterView, rows: Ints) -> Ints:
    """KV held or reserved (memory) plus the context that every step reads (time), both in tokens."""
    load: Ints = (view.kv_used_blocks * view.block_tokens + view.decode_context_tokens)[rows]
    return load


def lightest(rows: Ints, cost: Ints, turn: int) -> int:
    """The row of the lowest cost; number `turn` (modulo their count) among equals.

    A turn that advances with every choice spreads a burst that arrives before the view changes.
    """
    equals = (cost == np.minimum.reduce(cost)).nonzero()[0]
    return int(rows[equals[turn % len(equals)]])
