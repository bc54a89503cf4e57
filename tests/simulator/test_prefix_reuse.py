"""Prompts that share prefixes, as in the Mooncake trace, computed once as far as memory allows.

The trace names blocks of 512 tokens, so KV blocks here have 512 tokens. Only whole blocks are reused, and the last token of a
prompt is always computed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from orchestrator.simulator.run import Result
from orchestrator.workload.reader import read_trace
from orchestrator.workload.schedule import Planned
from tests.simulator.clusters import cluster, pool, run, ttft_s

TRACE = Path(__file__).resolve().parents[2] / ".." / "shared" / "traces" / "mooncake_conversation_trace.jsonl.gz"
BLOCK = 512
REQUESTS = 600


@cache
def trace() -> tuple[Planned, ...]:
    """The first requests of one conversation service, with outputs cut to a token: prefill is what is measured."""
    if not TRACE.exists():
        pytest.skip(f"no Mooncake trace at {TRACE}")
    rows = list(islice(read_trace(str(TRACE)), REQUESTS))
    return tuple(Planned(i, row.arrival_s or 0.0, row.input_tokens, 1, row.prefix_ids) for i, row in enumerate(rows))


def ideal_reuse() -> float:
    """Share of prompt tokens in whole leading blocks that an earlier prompt had at the same place."""
    known = set[int]()
    reused = total = 0
    for request in trace():
        whole = request.prefix_ids[: request.input_tokens // BLOCK]
        hits = 0
        for value in whole[: (request.input_tokens - 1) // BLOCK]:
            if value not in known:
                break
            hits += 1
        reused += hits * BLOCK
        total += request.input_tokens
        known.update(whole)
    return reused / total


def serve(
    planned: tuple[Planned, ...], blocks: int, workers: int = 1, routing: str = "prefix_aware", cached: bool = True
) -> Result:
    made = cluster(
        pool("both", workers, "b200", gpus=2),
        routing=routing,
        engine={"block_tokens": BLOCK, "kv_blocks": blocks, "prefix_cache": cached, "prefill_budget_tokens": 8192},
        simulation={"model": "qwen2.5-3b", "heartbeat_ms": 20.0},
    )
    return run(made, planned)


def reuse(result: Result) -> float:
    rows = result.document["workers"]
    return float(sum(row["reused_tokens"] for row in rows) / sum(request.input_tokens for request in trace()))


def one_after_the_other() -> tuple[Planned, ...]:
    """So far apart that every prompt is complete before the next one comes."""
    return tuple(replace(request, at_s=60.0 * request.index) for request in trace())


def test_a_pool_that_forgets_nothing_reaches_the_ideal() -> None:
    ideal = ideal_reuse()
    assert 0.05 < ideal < 0.9
    assert reuse(serve(one_after_the_other(), 16_000)) == pytest.approx(ideal, rel=1e-9)
    assert reuse(serve(one_after_the_other(), 16_000, cached=False)) == 0


def test_a_smaller_pool_reuses_less() -> None:
    shares = [reuse(serve(one_after_the_other(), blocks)) for blocks in (300, 1000, 4000, 16_000)]
    assert (np.diff(shares) > 0).all(), shares
    assert shares[0] < 0.7 * shares[-1]


def test_routing_by_prefix_beats_turns() -> None:
    """Four workers: in turn, a conversation meets its prefix at every fourth worker only."""
    found = {name: serve(trace(), 8000, 4, name) for name in ("prefix_aware", "round_robin")}
    assert reuse(found["prefix_aware"]) > 1.5 * reuse(found["round_robin"])
    means = {name: ttft_s(result.outcomes).mean() for name, result in found.items()}
    assert means["prefix_aware"] < means["round_robin"], means


def test_an_index_that_is_too_small_costs_hits() -> None:
    """Forty-one prompts of 128 blocks in turn, on four workers with room for them all: 5248 blocks to know of."""
    planned = [Planned(i, 0.05 * i, 2048, 1, tuple(1000 * (i % 41) + k for k in range(4))) for i in range(400)]
    made = cluster(
        pool("both", 4),
        routing="prefix_aware",
        engine={"block_tokens": 16, "kv_blocks": 8192, "prefix_cache": True},
    )

    def reused(blocks: int) -> int:
        door = replace(made.spec.front_door, prefix_index_blocks=blocks)
        result = run(replace(made, spec=replace(made.spec, front_door=door)), planned)
        return sum(member.worker.prompts.reused_tokens for member in result.cluster.members)

    assert reused(1024) < 0.8 * reused(1 << 14)
