"""Cluster views and requests for policy tests, by hand and by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from orchestrator.core.cluster import ClusterView, Ints, Role
from orchestrator.core.request import BlockHashes, RequestView

BLOCK_TOKENS = 16


@dataclass(slots=True)
class FixedPrefixes:
    """A `PrefixIndex` that answers with given numbers of blocks per row."""

    blocks: list[int]

    def matches(self, block_hashes: BlockHashes, n_workers: int) -> Ints:
        return np.minimum(np.array(self.blocks[:n_workers], np.int64), len(block_hashes))


def nothing_held(view: ClusterView) -> FixedPrefixes:
    """No worker holds anything."""
    return FixedPrefixes([0] * len(view))


def make_view(
    roles: list[Role], *, outstanding: list[int] | None = None, used: list[int] | None = None, total: int = 100
) -> ClusterView:
    """Workers that all accept work."""
    view = ClusterView.empty([f"w{i}" for i in range(len(roles))])
    view.role[:] = [int(role) for role in roles]
    view.accepts[:] = True
    view.kv_total_blocks[:] = total
    view.block_tokens[:] = BLOCK_TOKENS
    if outstanding is not None:
        view.outstanding_prefill_tokens[:] = outstanding
    if used is not None:
        view.kv_used_blocks[:] = used
    return view


def make_request(prompt_tokens: int = 64, arrival_s: float = 0.0) -> RequestView:
    """A request with hashes for its full blocks."""
    hashes = np.arange(prompt_tokens // BLOCK_TOKENS, dtype=np.uint64)
    return RequestView("r", prompt_tokens, 16, arrival_s, block_hashes=hashes)


@st.composite
def views(draw: st.DrawFn) -> ClusterView:
    """Any cluster of up to 8 workers, some closed, some full, with blocks of two sizes."""
    n = draw(st.integers(0, 8))
    view = ClusterView.empty([f"w{i}" for i in range(n)])

    def column(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=n, max_size=n))

    view.role[:] = column(st.sampled_from([1, 2, 3]))
    view.accepts[:] = column(st.sampled_from([0, 1, 1]))
    view.kv_total_blocks[:] = column(st.integers(0, 64))
    view.kv_used_blocks[:] = np.minimum(column(st.integers(0, 64)), view.kv_total_blocks)
    view.block_tokens[:] = column(st.sampled_from([16, 16, 16, 256]))
    view.outstanding_prefill_tokens[:] = column(st.integers(0, 20_000))
    view.decode_context_tokens[:] = column(st.integers(0, 20_000))
    return view
