"""Rows that may take a phase of a request: the rules that all routing policies share."""

from __future__ import annotations

import numpy as np

from orchestrator.core.cluster import Bools, ClusterView, Ints, Role
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView

Candidates = tuple[Ints, Reason | None]
"""Rows, never none, and why these if the cluster left no choice of role."""


def prefill_candidates(request: RequestView, view: ClusterView) -> Candidates | Placement:
    """Prefill rows with room for the prompt (and a first output token where they also decode), else a final placement."""
    tokens = request.prompt_tokens + (view.role >= int(Role.DECODE))
    for role, reason in ((Role.PREFILL, None), (Role.DECODE, Reason.NO_PREFILL_WORKER)):
        wanted = view.takes(role)
        rows = (wanted & view.has_room(tokens)).nonzero()[0]
        if rows.size:
            return rows, reason
        if wanted.any():
            return _no_room(wanted, tokens, view)
    return Placement(None, Reason.NO_CAPACITY, "no worker accepts requests")


def decode_candidates(request: RequestView, view: ClusterView, prefill_worker: int | None) -> Candidates | Placement:
    """Decode rows with room for the prompt and a first output token, else a final placement."""
    wanted, tokens = view.takes(Role.DECODE), request.prompt_tokens + 1
    if prefill_worker is not None:
        if view.role[prefill_worker] & int(Role.DECODE):
            return Placement(prefill_worker, Reason.CO_LOCATED, co_locate=True)
        # Blocks are copied as they are, so both sides must cut a prompt into equal blocks.
        block_tokens = int(view.block_tokens[prefill_worker])
        wanted &= view.block_tokens == block_tokens
    rows = (wanted & view.has_room(tokens)).nonzero()[0]
    if rows.size:
        return rows, None
    if wanted.any():
        return _no_room(wanted, tokens, view)
    if prefill_worker is not None and view.kv_total_blocks[prefill_worker] * block_tokens >= tokens:
        return Placement(prefill_worker, Reason.NO_DECODE_WORKER, co_locate=True)
    return Placement(None, Reason.NO_CAPACITY, "no decode worker accepts requests")


def placement(row: int, view: ClusterView, reason: Reason, detail: str = "") -> Placement:
    """A prefill placement: workers that may decode run both phases."""
    return Placement(row, reason, detail, co_locate=bool(view.role[row] & int(Role.DECODE)))


def _no_room(wanted: Bools, tokens: Ints | int, view: ClusterView) -> Placement:
    need_blocks = (-(-tokens // np.maximum(view.block_tokens, 1)))[wanted].min()
    most_blocks = view.free_blocks()[wanted].max()
    detail = f"needs {need_blocks} KV blocks, at most {most_blocks} of {np.count_nonzero(wanted)} workers are free"
    return Placement(None, Reason.NO_CAPACITY, detail)
