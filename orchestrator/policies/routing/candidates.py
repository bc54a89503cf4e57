"""Rows that may take a phase of a request: the rules that all routing policies share."""

from __future__ import annotations

import numpy as np

from orchestrator.core.cluster import ClusterView, Ints, Role
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView

Candidates = tuple[Ints, Reason | None]
"""Rows, never none, and why these if the cluster left no choice of role."""


def prefill_candidates(request: RequestView, view: ClusterView) -> Candidates | Placement:
    """Prefill rows with room for the prompt (and a first output token where they also decode), else a final placement."""
    rows, reason = view.eligible(Role.PREFILL), None
    if not rows.size:
        rows, reason = view.eligible(Role.DECODE), Reason.NO_PREFILL_WORKER
    if not rows.size:
        return Placement(None, Reason.NO_CAPACITY, "no worker accepts requests")
    return _with_room(rows, request.prompt_tokens + view.decodes(rows), view, reason)


def decode_candidates(request: RequestView, view: ClusterView, prefill_worker: int | None) -> Candidates | Placement:
    """Decode rows with room for the prompt and a first output token, else a final placement."""
    rows, tokens = view.eligible(Role.DECODE), request.prompt_tokens + 1
    if prefill_worker is not None:
        if view.role[prefill_worker] & int(Role.DECODE):
            return Placement(prefill_worker, Reason.CO_LOCATED, co_locate=True)
        # Blocks are copied as they are, so both sides must cut a prompt into equal blocks.
        block_tokens = int(view.block_tokens[prefill_worker])
        rows = rows[view.block_tokens[rows] == block_tokens]
        if not rows.size and -(-tokens // max(block_tokens, 1)) <= view.kv_total_blocks[prefill_worker]:
            return Placement(prefill_worker, Reason.NO_DECODE_WORKER, co_locate=True)
    if not rows.size:
        return Placement(None, Reason.NO_CAPACITY, "no decode worker accepts requests")
    return _with_room(rows, tokens, view, None)


def placement(row: int, view: ClusterView, reason: Reason, detail: str = "") -> Placement:
    """A prefill placement: workers that may decode run both phases."""
    return Placement(row, reason, detail, co_locate=bool(view.role[row] & int(Role.DECODE)))


def _with_room(rows: Ints, tokens: Ints | int, view: ClusterView, reason: Reason | None) -> Candidates | Placement:
    """Those of `rows` with free blocks for `tokens`, which is one number or one per row."""
    block_tokens = np.maximum(view.block_tokens[rows], 1)
    need_blocks = (tokens + block_tokens - 1) // block_tokens
    free_blocks = view.kv_total_blocks[rows] - view.kv_used_blocks[rows]
    roomy = rows[free_blocks >= need_blocks]
    if roomy.size:
        return roomy, reason
    detail = f"needs {need_blocks.min()} KV blocks, at most {free_blocks.max()} of {rows.size} workers are free"
    return Placement(None, Reason.NO_CAPACITY, detail)
