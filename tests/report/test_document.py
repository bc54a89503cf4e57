"""The figures of a report, from outcomes whose figures are known."""

from __future__ import annotations

import pytest

from orchestrator.report.document import Kv, Run, Spread, report
from orchestrator.report.outcome import Outcome, Verdict

RUN = Run(duration_s=10.0, wall_s=11.0, cpu_s=1.0, seed=5, version="1", kv=Kv(bytes_moved=7))


def _done(ttft_s: float, e2e_s: float, tokens: int, tier: str = "default", tpot_slo_s: float | None = None) -> Outcome:
    return Outcome(
        Verdict.COMPLETED,
        e2e_s,
        tier,
        input_tokens=100,
        output_tokens=tokens,
        ttft_s=ttft_s,
        e2e_s=e2e_s,
        gaps_s=(0.1, 0.3),
        ttft_slo_s=1.0,
        tpot_slo_s=tpot_slo_s,
    )


def test_figures() -> None:
    outcomes = [
        _done(0.5, 1.5, 11, tpot_slo_s=0.15),  # meets both bounds
        _done(0.5, 2.5, 11, tpot_slo_s=0.15),  # TPOT 0.2: misses one
        _done(2.0, 2.0, 1, tier="slow"),  # a single token has no TPOT; TTFT misses
        Outcome(Verdict.REJECTED, 0.1, error="full", ttft_slo_s=1.0),
        Outcome(Verdict.FAILED, 0.2, error="lost", ttft_slo_s=1.0),
    ]
    got = report(outcomes, RUN)
    assert got["requests"] == {"submitted": 5, "completed": 3, "failed": 1, "rejected": 1, "clipped": 0}
    assert got["ttft_s"]["mean"] == pytest.approx(1.0) and got["ttft_s"]["max"] == 2.0
    assert got["tpot_s"]["mean"] == pytest.approx(0.15) and got["tpot_s"]["max"] == pytest.approx(0.2)
    assert got["itl_s"]["mean"] == pytest.approx(0.2)
    assert got["throughput"] == {"requests_per_s": 0.3, "input_tokens_per_s": 30.0, "output_tokens_per_s": 2.3}
    assert got["goodput_rps"] == pytest.approx(0.1) and got["slo_attainment"] == pytest.approx(0.2)
    assert got["tiers"]["slow"]["slo_attainment"] == 0.0 and set(got["tiers"]) == {"default", "slow"}
    assert got["errors"] == {"full": 1, "lost": 1}
    assert got["kv"]["bytes_moved"] == 7 and got["seed"] == 5


def test_nothing_measured_is_none() -> None:
    got = report([], RUN)
    assert got["ttft_s"]["p99"] is None and got["slo_attainment"] is None and got["tiers"] == {}


def test_percentiles() -> None:
    spread = Spread.of(float(v) for v in range(101))
    assert (spread.p50, spread.p90, spread.p95, spread.p99, spread.max) == (50.0, 90.0, 95.0, 99.0, 100.0)
