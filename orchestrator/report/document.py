"""The report that replaying and simulating a trace share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from orchestrator.report.columns import VERDICTS, Columns, Flags, Floats, Integers, gaps_s
from orchestrator.report.outcome import Outcome
from orchestrator.report.spread import Spread

# By tier, the seconds of steps and how many tokens each step gave: one value stands for many gaps.
WeightedItl = Mapping[str, tuple[Floats, Integers]]

__all__ = ["Kv", "Run", "Spread", "WeightedItl", "report"]


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
    """The circumstances of a run. `duration_s` is the time that the load took, `wall_s` and `cpu_s` what the tool used.

    `client` says how a load generator kept to its schedule (see `orchestrator.replay.load`).
    `decisions` counts the reasons of each decision, `policies` names the policy of each, and `scenario` holds free facts
    such as trace, rate, model, hardware and command; each stands in the report only where it is given.
    """

    duration_s: float
    wall_s: float
    cpu_s: float
    seed: int
    version: str
    kv: Kv = field(default_factory=Kv)
    workers: Sequence[dict[str, Any]] = ()
    energy_j: float | None = None
    cost_usd: float | None = None
    decisions: Mapping[str, Mapping[str, int]] | None = None
    policies: Mapping[str, str] | None = None
    scenario: Mapping[str, Any] | None = None
    client: Mapping[str, Any] | None = None


def report(outcomes: Sequence[Outcome], run: Run, itl: WeightedItl | None = None) -> dict[str, Any]:
    """The whole report as a JSON document. Rates are per second of `run.duration_s`.

    With `itl` the ITL of a tier is that of its weighted values; otherwise it comes from the gaps of its outcomes.
    """
    columns = Columns.of(outcomes)
    spreads = _itl(gaps_s(outcomes)) if itl is None else _weighted_itl(itl)
    tiers = {
        tier: _figures(columns, columns.tier == index, run.duration_s, spreads.get(tier, Spread()))
        for index, tier in enumerate(columns.tiers)
    }
    optional = {"decisions": run.decisions, "policies": run.policies, "scenario": run.scenario, "client": run.client}
    return {
        **_figures(columns, np.ones(len(outcomes), np.bool_), run.duration_s, spreads[None]),
        "tiers": tiers,
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
        **{name: _plain(value) for name, value in optional.items() if value is not None},
    }


def _itl(gaps: Mapping[str, Floats]) -> dict[str | None, Spread]:
    """By tier, and of all tiers under None."""
    if len(gaps) == 1:
        ((tier, values),) = gaps.items()
        return dict.fromkeys((None, tier), Spread.of(values))
    overall = Spread.of(np.concatenate(list(gaps.values()))) if gaps else Spread()
    return {None: overall, **{tier: Spread.of(values) for tier, values in gaps.items()}}


def _weighted_itl(itl: WeightedItl) -> dict[str | None, Spread]:
    if len(itl) == 1:
        ((tier, (values, weights)),) = itl.items()
        return dict.fromkeys((None, tier), Spread.of(values, weights))
    merged = [np.concatenate(parts) for parts in zip(*itl.values(), strict=True)]
    overall = Spread.of(merged[0], merged[1]) if merged else Spread()
    return {None: overall, **{tier: Spread.of(values, weights) for tier, (values, weights) in itl.items()}}


def _figures(columns: Columns, chosen: Flags, duration_s: float, itl: Spread) -> dict[str, Any]:
    """Counts, latencies, throughput and goodput of the chosen requests.

    Refused and failed requests miss their SLO. Goodput and attainment are None where no request had an SLO.
    """
    submitted = int(chosen.sum())
    done = chosen & columns.completed
    met = int((chosen & columns.met).sum())
    bounded = bool((chosen & columns.bounded).any())
    counts = np.bincount(columns.verdict[chosen], minlength=len(VERDICTS))

    def per_s(count: int) -> float:
        return count / duration_s if duration_s > 0 else 0.0

    return {
        "requests": {
            "submitted": submitted,
            **{verdict.value: int(n) for verdict, n in zip(VERDICTS, counts, strict=True)},
            "clipped": int((chosen & columns.clipped).sum()),
        },
        "ttft_s": Spread.of(columns.ttft_s[done]).document(),
        "tpot_s": Spread.of(columns.tpot_s[done]).document(),
        "itl_s": itl.document(),
        "e2e_s": Spread.of(columns.e2e_s[done]).document(),
        "throughput": {
            "requests_per_s": per_s(int(done.sum())),
            "input_tokens_per_s": per_s(int(columns.input_tokens[done].sum())),
            "output_tokens_per_s": per_s(int(columns.output_tokens[done].sum())),
        },
        "goodput_rps": per_s(met) if bounded else None,
        "slo_attainment": met / submitted if bounded and submitted else None,
    }


def _plain(value: Any) -> Any:
    """Mappings as dicts, all the way down: what JSON and YAML can write."""
    return {str(k): _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value
