"""From planned requests to jobs: what policies will see of them, with the tier that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from orchestrator.core.config import Spec
from orchestrator.core.request import RequestView
from orchestrator.simulator.job import Job
from orchestrator.workload.schedule import Planned
from orchestrator.workload.trace import PREFIX_BLOCK_TOKENS, TraceError

_MASK = (1 << 64) - 1
_NONE = np.zeros(0, np.uint64)


def jobs(planned: Iterable[Planned], spec: Spec, block_tokens: int, max_tokens: int) -> Iterator[Job]:
    """One job per request, in order. Clients set no limit but the context of `max_tokens`: no policy sees how long outputs will be.

    Raises TraceError for a tier that the cluster lacks."""
    hop_s = spec.simulation.hop_ms / 1e3
    tiers = {tier.name: tier for tier in spec.tiers}
    default = spec.tier(None)
    for request in planned:
        tier = tiers.get(request.tier) if request.tier else default
        if tier is None:
            known = ", ".join(tiers)
            raise TraceError(
                f"request {request.index} is of tier {request.tier!r}",
                "spec.tiers",
                f"add the tier to the cluster, which has {known}",
            )
        hashes = prefix_hashes(request.prefix_ids, request.input_tokens, block_tokens) if request.prefix_ids else []
        view = RequestView(
            f"r{request.index}",
            request.input_tokens,
            max(1, max_tokens - request.input_tokens),
            request.at_s + hop_s,
            tier.name,
            tier.ttft_ms / 1e3,
            tier.tpot_ms / 1e3,
            np.array(hashes, np.uint64) if hashes else _NONE,
        )
        yield Job(request.index, view, request.at_s, request.output_tokens, request.clipped, hashes=hashes)


def prefix_hashes(ids: tuple[int, ...], prompt_tokens: int, block_tokens: int) -> list[int]:
    """Hashes of the full KV blocks of a prompt whose text is named by `ids`, one for every `PREFIX_BLOCK_TOKENS` tokens.

    A hash depends on all ids up to its block, so equal hashes mean equal prefixes. Blocks beyond the last id have none.
    """
    chained, parent = list[int](), 0x9E3779B97F4A7C15
    for value in ids:
        parent = ((parent ^ (value & _MASK)) * 0xD1342543DE82EF95 + 1) & _MASK
        chained.append(parent)
    blocks = min(prompt_tokens, len(ids) * PREFIX_BLOCK_TOKENS) // block_tokens
    last_token = ((i + 1) * block_tokens - 1 for i in range(blocks))
    return [(chained[token // PREFIX_BLOCK_TOKENS] + token) & _MASK for token in last_token]
