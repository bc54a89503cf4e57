"""Reports and timelines that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestrator.report.document import Kv, Run, WeightedItl, report
from orchestrator.report.outcome import Outcome, Verdict
from orchestrator.report.timeline import Series, Span, Timeline


def outcomes(count: int = 60, tiers: tuple[str, ...] = ("default",), seed: int = 0, gaps: bool = True) -> list[Outcome]:
    """`count` requests, the last of every ten refused; with `gaps` as a replay measures them."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        tier = tiers[i % len(tiers)]
        if i % 10 == 9:
            out.append(Outcome(Verdict.REJECTED, i * 0.1, tier, error="queue is full", ttft_slo_s=0.5))
            continue
        tokens, ttft_s = int(rng.integers(1, 200)), float(rng.lognormal(-1.5, 0.6))
        steps = rng.lognormal(-3.5, 0.4, tokens - 1)
        out.append(
            Outcome(
                Verdict.COMPLETED,
                i * 0.1 + ttft_s,
                tier,
                input_tokens=int(rng.integers(10, 4000)),
                output_tokens=tokens,
                ttft_s=ttft_s,
                e2e_s=ttft_s + float(steps.sum()),
                gaps_s=tuple(steps.tolist()) if gaps else (),
                ttft_slo_s=0.5,
                tpot_slo_s=0.05,
            )
        )
    return out


def replayed(seed: int = 0) -> dict[str, Any]:
    """A document as `pdctl replay` writes it."""
    row = {"name": "decode-0", "pool": "decode", "role": "decode", "pid": 7, "prefill_requests": 0, "preemptions": 0}
    run = Run(6.0, 6.5, 0.4, seed, "0.1.0", Kv(1 << 20, 60, 0, None, 0), [row])
    return report(outcomes(seed=seed), run)


def simulated(seed: int = 0, tiers: tuple[str, ...] = ("chat", "batch"), workers: int = 3) -> dict[str, Any]:
    """A document as `pdctl simulate` writes it."""
    rng = np.random.default_rng(seed)
    itl: WeightedItl = {t: (rng.lognormal(-3.5, 0.4, 500), rng.integers(1, 30, 500)) for t in tiers}
    run = Run(
        6.0,
        0.3,
        0.3,
        seed,
        "0.1.0",
        Kv(1 << 30, 54, 2, 1, 0),
        [worker_row(i) for i in range(workers)],
        energy_j=5400.0,
        cost_usd=0.0125,
        decisions={"routing": {"least loaded": 40, "prefix of 512 tokens": 14}, "admission": {"queue is full": 6}},
        policies={"routing": "prefix_aware", "admission": "bounded"},
        scenario={"trace": "synthetic:poisson", "rate": 10.0, "command": "pdctl simulate --trace synthetic:poisson"},
    )
    return report(outcomes(tiers=tiers, seed=seed, gaps=False), run, itl)


def worker_row(index: int) -> dict[str, Any]:
    """A row of the simulator."""
    return {
        "name": f"decode-{index}",
        "pool": "decode",
        "role": "decode",
        "hardware": "h100",
        "requests": 18,
        "prefill_tokens": 0,
        "decode_tokens": 1800,
        "utilization": 0.5,
        "mean_batch": 3.25,
        "kv_peak_blocks": 100,
        "kv_total_blocks": 400,
        "preemptions": 2,
        "energy_j": 1800.0,
        "cost_usd": 0.004,
    }


def timeline(workers: int = 3, points: int = 200, end_s: float = 6.0, seed: int = 0) -> Timeline:
    """Random walks of queue and KV, and back-to-back steps."""
    rng = np.random.default_rng(seed)
    time_s = np.linspace(0.0, end_s, points)
    series = {
        f"decode-{i}": {
            "queue": Series(time_s, np.abs(np.cumsum(rng.integers(-1, 2, points))).astype(np.float64)),
            "running": Series(time_s, rng.integers(0, 9, points).astype(np.float64)),
            "kv": Series(time_s, np.clip(0.5 + np.cumsum(rng.normal(0, 0.02, points)), 0, 1)),
        }
        for i in range(workers)
    }
    spans = [
        Span(f"decode-{i}", "decode step", "iteration", start_s, 0.1, {"batch": 4})
        for i in range(workers)
        for start_s in np.arange(0, 2, 0.1).tolist()
    ]
    return Timeline(series, spans)
