"""A request as policies see it, and the states it goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

BlockHashes = npt.NDArray[np.uint64]


class RequestState(StrEnum):
    """`queued → prefilling → [transferring →] decoding → finished`; any active state → `queued` (preempted, next attempt)."""

    # Members are looked up for every request; the hash of their base class is the quick one.
    __hash__ = str.__hash__

    QUEUED = "queued"
    PREFILLING = "prefilling"
    TRANSFERRING = "transferring"
    DECODING = "decoding"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


_S = RequestState
_NEXT: dict[RequestState, frozenset[RequestState]] = {
    # A stop string may be found in what an attempt emitted before it was lost.
    _S.QUEUED: frozenset({_S.PREFILLING, _S.FINISHED, _S.FAILED, _S.CANCELLED}),
    _S.PREFILLING: frozenset({_S.TRANSFERRING, _S.DECODING, _S.FINISHED, _S.QUEUED, _S.FAILED, _S.CANCELLED}),
    _S.TRANSFERRING: frozenset({_S.DECODING, _S.FINISHED, _S.QUEUED, _S.FAILED, _S.CANCELLED}),
    _S.DECODING: frozenset({_S.FINISHED, _S.QUEUED, _S.FAILED, _S.CANCELLED}),
    _S.FINISHED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}


def advance(old: RequestState, new: RequestState) -> RequestState:
    """Return `new` if `old → new` is a legal transition; raises AssertionError otherwise."""
    assert new in _NEXT[old], f"illegal transition {old} → {new}"
    return new


@dataclass(frozen=True, slots=True)
class RequestView:
    """What policies may know of a request: lengths, block hashes and its service level, never its text.

    `block_hashes` are chained hashes of the full prompt blocks (see `core.hashing`), shape (prompt_tokens // block_tokens,).
    """

    request_id: str
    prompt_tokens: int
    max_tokens: int
    arrival_s: float
    tier: str = "default"
    ttft_slo_s: float | None = None
    tpot_slo_s: float | None = None
    block_hashes: BlockHashes = field(default_factory=lambda: np.zeros(0, np.uint64))
