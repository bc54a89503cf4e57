"""What a worker's load is, and how one of the lightest is chosen."""

from __future__ import annotations

import numpy as np

from orchestrator.core.cluster import ClusterView, Ints, Role


def prefill_load_tokens(view: ClusterView, decodes: bool) -> Ints:
    """Prompt tokens dispatched to each row and not yet computed.

    Where `decodes`, rows that also decode add what they decode, which slows their prompts down and fills their memory.
    """
    prompts = view.outstanding_prefill_tokens
    if not decodes:
        return prompts
    return prompts + np.where(view.role >= int(Role.DECODE), decode_load_tokens(view), 0)


def decode_load_tokens(view: ClusterView) -> Ints:
    """KV held or reserved (memory) plus the context that every step reads (time), both in tokens, per row."""
    load: Ints = view.kv_used_blocks * view.block_tokens
    load += view.decode_context_tokens
    return load


def lightest(cost: Ints, turn: int, salt: int) -> int:
    """The row of the lowest cost, one of the equals by `turn`.

    A turn that advances with every choice spreads a burst that arrives before the view changes: as many turns as there are
    equals give each of them one. A `salt` above 0 draws for every such lap where it begins, so that front doors with other
    salts, whose laps begin at the same time, meet at the same worker only by chance.
    """
    row = int(cost.argmin())
    least, rest = cost.item(row), cost[row + 1 :]
    # Two of argmin take half the time of comparing all.
    if not rest.size or rest.item(rest.argmin()) != least:
        return row
    equals = (cost == least).nonzero()[0]
    n = len(equals)
    lap, place = divmod(turn, n)
    if salt:
        place = (place + _drawn(salt, lap)) % n
    return int(equals[place])


def _drawn(salt: int, lap: int) -> int:
    """A number below 2^32 that looks random (the finaliser of MurmurHash3)."""
    x = (salt + lap * 0x9E3779B9) & 0xFFFFFFFF
    x = (x ^ x >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    x = (x ^ x >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ x >> 16
