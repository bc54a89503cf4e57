"""What a worker's load is, and how the lightest is chosen."""

from __future__ import annotations

import numpy as np

from orchestrator.core.cluster import ClusterView, Ints, Role


def prefill_load_tokens(view: ClusterView, rows: Ints) -> Ints:
    """Prompt tokens dispatched to each row and not yet computed."""
    return view.outstanding_prefill_tokens[rows]


def worker_load_tokens(view: ClusterView, rows: Ints) -> Ints:
    """As `prefill_load_tokens`; rows that also decode add what they decode, which slows their prompts down and fills their memory."""
    prompts, role = prefill_load_tokens(view, rows), view.role[rows]
    if np.maximum.reduce(role) < int(Role.DECODE):
        return prompts
    return prompts + np.where(role >= int(Role.DECODE), decode_load_tokens(view, rows), 0)


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
