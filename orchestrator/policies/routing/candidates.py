"""Rows that may take a phase of a request: the rules that all routing policies share.

`place_prefill` and `place_decode` first let a policy pick among all open rows and only then look whether the picked one has room:
it nearly always has, and looking at one row costs less than at a thousand. If it has none, the policy picks among those that have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orchestrator.core.cluster import NEVER, Bools, ClusterView, Ints, Role
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView

Candidates = tuple[Ints, Reason | None]
"""Rows, never none, and why these if the cluster left no choice of role."""


Pick = Callable[[Ints, bool], tuple[int, Reason, str]]
"""Row, reason and detail, from a barrier that is to be added to the costs and whether open rows run decodes too."""


def place_prefill(request: RequestView, view: ClusterView, pick: Pick) -> Placement:
    """What `pick` says, or why the request cannot be placed; a reason of the rules here goes before its own."""
    barrier, count = view.barrier(Role.PREFILL)
    if count:
        row, reason, detail = pick(barrier, view.mixed())
        decodes = view.role.item(row) >= int(Role.DECODE)
        if _has_room(view, row, request.prompt_tokens + decodes):
            return Placement(row, Reason.ONLY_CANDIDATE if count == 1 else reason, detail, decodes)
    found = prefill_candidates(request, view)
    if isinstance(found, Placement):
        return found
    rows, forced = found
    row, reason, detail = pick(_barrier(rows, view), True)
    return placement(row, view, forced or (Reason.ONLY_CANDIDATE if rows.size == 1 else reason), detail)


def place_decode(request: RequestView, view: ClusterView, prefill_worker: int | None, pick: Pick) -> Placement:
    """As `place_prefill`."""
    if prefill_worker is None or view.role.item(prefill_worker) < int(Role.DECODE):
        barrier, count = view.barrier(Role.DECODE)
        if count:
            row, reason, detail = pick(barrier, True)
            equal = prefill_worker is None or view.block_tokens.item(row) == view.block_tokens.item(prefill_worker)
            if equal and _has_room(view, row, request.prompt_tokens + 1):
                return Placement(row, Reason.ONLY_CANDIDATE if count == 1 else reason, detail)
    found = decode_candidates(request, view, prefill_worker)
    if isinstance(found, Placement):
        return found
    rows, _ = found
    row, reason, detail = pick(_barrier(rows, view), True)
    return Placement(row, Reason.ONLY_CANDIDATE if rows.size == 1 else reason, detail)


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


def _has_room(view: ClusterView, row: int, tokens: int) -> bool:
    free_blocks = view.kv_total_blocks.item(row) - view.kv_used_blocks.item(row)
    return bool(free_blocks * view.block_tokens.item(row) >= tokens)


def _barrier(rows: Ints, view: ClusterView) -> Ints:
    barrier = np.full(len(view), NEVER)
    barrier[rows] = 0
    return barrier


def _no_room(wanted: Bools, tokens: Ints | int, view: ClusterView) -> Placement:
    need_blocks = (-(-tokens // np.maximum(view.block_tokens, 1)))[wanted].min()
    most_blocks = view.free_blocks()[wanted].max()
    detail = f"needs {need_blocks} KV blocks, at most {most_blocks} of {np.count_nonzero(wanted)} workers are free"
    return Placement(None, Reason.NO_CAPACITY, detail)
