"""The report that replaying and simulating a trace share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from orchestrator.report.outcome import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution in seconds; all None where nothing was measured."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread:
        """Of the values that are not None."""
        data = np.asarray([v for v in values if v is not None], np.float64)
        if not len(data):
            return cls()
        p50, p90, p95, p99 = (float(p) for p in np.percentile(data, (50, 90, 95, 99)))
        return cls(float(data.mean()), p50, p90, p95, p99, float(data.max()))


@dataclass(frozen=True, slots=True)
class Kv:
    """What happened to KV blocks during the run; None where it could not be seen."""

    bytes_moved: int | None = None
    transfers: int | None = None
    preemptions: int | None = None
    migrations: int | None = None
    lease_expiries: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The circumstances of a run. `duration_s` is the time that the load took, `wall_s` and `cpu_s` what the tool used."""

    duration_s: float
    wall_s: float
    cpu_s: float
    seed: int
    version: str
    kv: Kv = field(default_factory=Kv)
    workers: Sequence[dict[str, Any]] = ()
    energy_j: float | None = None
    cost_usd: float | None = None


def report(outcomes: Sequence[Outcome], run: Run) -> dict[str, Any]:
    """The whole report as a JSON document. Rates are per second of `run.duration_s`."""
    tiers = sorted({o.tier for o in outcomes})
    return {
        **figures(outcomes, run.duration_s),
        "tiers": {tier: figures([o for o in outcomes if o.tier == tier], run.duration_s) for tier in tiers},
        "kv": asdict(run.kv),
        "energy_j": run.energy_j,
        "cost_usd": run.cost_usd,
        "workers": list(run.workers),
        "duration_s": run.duration_s,
        "wall_s": run.wall_s,
        "cpu_s": run.cpu_s,
        "seed": run.seed,
        "version": run.version,
        "errors": dict(Counter(o.error for o in outcomes if o.error).most_common()),
    }


def figures(outcomes: Sequence[Outcome], duration_s: float) -> dict[str, Any]:
    """Counts, latencies, throughput and goodput of some requests.

    Refused and failed requests miss their SLO. Goodput and attainment are None where no request had an SLO.
    """
    done = [o for o in outcomes if o.verdict is Verdict.COMPLETED]
    counts = Counter(o.verdict for o in outcomes)
    met = sum(o.meets_slo for o in outcomes)
    bounded = any(o.has_slo for o in outcomes)

    def per_s(count: int) -> float:
        return count / duration_s if duration_s > 0 else 0.0

    return {
        "requests": {
            "submitted": len(outcomes),
            **{verdict.value: counts[verdict] for verdict in Verdict},
            "clipped": sum(o.clipped for o in outcomes),
        },
        "ttft_s": asdict(Spread.of(o.ttft_s for o in done)),
        "tpot_s": asdict(Spread.of(o.tpot_s for o in done)),
        "itl_s": asdict(Spread.of(gap for o in done for gap in o.gaps_s)),
        "e2e_s": asdict(Spread.of(o.e2e_s for o in done)),
        "throughput": {
            "requests_per_s": per_s(len(done)),
            "input_tokens_per_s": per_s(sum(o.input_tokens for o in done)),
            "output_tokens_per_s": per_s(sum(o.output_tokens for o in done)),
        },
        "goodput_rps": per_s(met) if bounded else None,
        "slo_attainment": met / len(outcomes) if bounded and outcomes else None,
    }
