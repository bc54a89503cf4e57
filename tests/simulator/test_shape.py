"""Which cluster wins where, what too little memory costs, and what a link adds: the shapes that disaggregation is known for."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.config import Cluster
from orchestrator.simulator.scenario import scenario
from orchestrator.workload.schedule import Planned
from tests.simulator.clusters import at_once, cluster, poisson, pool, run

BUDGETS = (256, 512, 1024, 2048, 8192)


def attainment(made: Cluster, rate: float, lengths: tuple[int, int], ttft_s: float, tpot_s: float) -> float:
    """Share of 200 Poisson requests within both bounds."""
    outcomes = run(made, poisson(rate, 200, *lengths)).outcomes
    met = [o.ttft_s is not None and o.ttft_s <= ttft_s and (o.tpot_s or 0.0) <= tpot_s for o in outcomes]
    return float(np.mean(met))


def co_located(devices: int, penalty: float) -> dict[int, Cluster]:
    simulation = {"mixed_penalty": penalty}
    return {budget: cluster(pool("both", devices), budget=budget, simulation=simulation) for budget in BUDGETS}


def split(prefill: int, decode: int, penalty: float = 1.0) -> Cluster:
    return cluster(pool("prefill", prefill), pool("decode", decode), simulation={"mixed_penalty": penalty})


@pytest.mark.parametrize(("tpot_s", "rate", "penalty"), [(0.010, 10.0, 1.0), (0.012, 10.0, 1.3)])
def test_long_prompts_under_a_tight_tpot_want_separate_workers(tpot_s: float, rate: float, penalty: float) -> None:
    """Four H100, prompts of 8192 tokens: 2P2D has a goodput (nine tenths in time) of at least `rate`, co-located workers less.

    Where mixed batches are ideal this takes a TPOT that no chunk of a useful size keeps. See Nexus §10.3 on why they are not.
    """
    bounds = (rate, (8192, 128), 2.0, tpot_s)
    mixed = {budget: attainment(made, *bounds) for budget, made in co_located(4, penalty).items()}
    separate = attainment(split(2, 2, penalty), *bounds)
    assert separate >= 0.9 > max(mixed.values()), f"2P2D {separate:.2f}, co-located by budget {mixed}"


def test_short_outputs_under_a_tight_ttft_want_every_worker_to_prefill() -> None:
    """Four H100, 2048 tokens in and 8 out: dedicated decode workers idle while prompts wait."""
    bounds = (70.0, (2048, 8), 0.25, 0.05)
    mixed = attainment(co_located(4, 1.0)[2048], *bounds)
    separate = {prefill: attainment(split(prefill, 4 - prefill), *bounds) for prefill in (1, 2, 3)}
    assert mixed >= 0.9 > max(separate.values()), f"co-located {mixed:.2f}, separate by prefill workers {separate}"


def test_at_low_load_co_located_workers_are_as_good() -> None:
    bounds = (2.0, (2048, 64), 0.25, 0.05)
    mixed, separate = attainment(co_located(4, 1.0)[2048], *bounds), attainment(split(2, 2), *bounds)
    assert mixed >= separate >= 0.9, f"co-located {mixed:.2f}, 2P2D {separate:.2f}"


def test_too_little_memory_preempts_and_lengthens_the_tail() -> None:
    """Source: ARES §9: recomputing blocks the worker, and the tail of TPOT comes from it."""
    found = {}
    for blocks in (1024, 16384):
        made = cluster(
            pool("prefill", 2), pool("decode", 1), engine={"kv_blocks": blocks}, simulation={"heartbeat_ms": 20.0}
        )
        document = run(made, poisson(12.0, 90, 512, 513), check_every=500).document
        found[blocks] = (document["kv"]["preemptions"], document["tpot_s"]["p99"], document["workers"][-1])
    (few, tail_s, small), (none, ample_s, large) = found[1024], found[16384]
    assert few > 10 and none == 0
    assert small["prefill_tokens"] >= few * 512 and large["prefill_tokens"] == 0
    assert tail_s > 1.2 * ample_s


def second_tokens_s(bytes_per_s: str, prompts: int = 1) -> list[float]:
    """Seconds from the first to the second token of prompts that are prefilled on as many workers at once."""
    made = cluster(
        pool("prefill", prompts), pool("decode", 1), simulation={"link": bytes_per_s}, engine={"max_batch": 64}
    )
    return [(o.e2e_s or 0.0) - (o.ttft_s or 0.0) for o in run(made, at_once(prompts, 4096, 2)).outcomes]


def step_s(requests: int) -> float:
    device = scenario(cluster(pool("decode", 1))).devices[0]
    return device.truth.decode_line(requests).step_s(requests * 4097)


KV_BYTES = 4096 * 128 * 1024


@pytest.mark.parametrize(
    ("link", "rate", "latency_s"), [("infiniband-ndr", 50e9, 1e-5), ("infiniband-hdr", 25e9, 1e-5)]
)
def test_the_second_token_waits_for_the_transfer(link: str, rate: float, latency_s: float) -> None:
    """Half the rate doubles the transfer."""
    (gap_s,) = second_tokens_s(link)
    assert gap_s == pytest.approx(latency_s + KV_BYTES / rate + step_s(1), rel=1e-9)


def test_transfers_to_one_worker_share_its_link() -> None:
    """Both arrive after twice the time; the one that is heard of first starts the step, the other joins the next."""
    arrived_s = 1e-5 + 2 * KV_BYTES / 50e9
    gaps_s = second_tokens_s("infiniband-ndr", 2)
    assert gaps_s == pytest.approx([arrived_s + step_s(1), arrived_s + 2 * step_s(1)], rel=1e-9)


def test_a_context_that_arrives_amid_a_step_joins_the_next_one() -> None:
    """One request decodes on and on; another's second token comes with the end of the first step that began after its arrival."""
    made = cluster(pool("prefill", 1), pool("decode", 1), simulation={"link": "infiniband-ndr"})
    result = run(made, [Planned(0, 0.0, 4096, 200), Planned(1, 0.35, 4096, 2)], spans=True)
    (late,) = [o for o in result.outcomes if o.output_tokens == 2]
    assert late.ttft_s is not None and late.e2e_s is not None
    arrived_s = 0.35 + late.ttft_s + 1e-5 + KV_BYTES / 50e9
    starts = [s for s in result.timeline.spans if s.worker == "decode-0" and s.start_s >= arrived_s]
    joined = min(starts, key=lambda span: span.start_s)
    assert 0 < joined.start_s - arrived_s < step_s(1) * 1.01
    assert 0.35 + late.e2e_s == pytest.approx(joined.start_s + joined.duration_s, abs=1e-9)
