"""Reports side by side: the same figure of each, by how much it differs from the first, and which is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Number = float | int


class Better(StrEnum):
    """Which way a figure should go; `NEITHER` for what is only a circumstance."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class Unit(StrEnum):
    """How a value reads."""

    COUNT = "count"
    SECONDS = "s"
    PER_S = "1/s"
    SHARE = "share"
    BYTES = "bytes"
    JOULES = "j"
    USD = "usd"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of every report; a value is None where the report does not know it.

    `ratios` and `deltas` are against the first report; a ratio is None where the first is 0 or unknown. `best` is the
    index of the only best value, None for a tie, for a figure without a better side, or with fewer than two values.
    """

    name: str
    unit: Unit
    better: Better
    values: tuple[Number | None, ...]

    @property
    def deltas(self) -> tuple[float | None, ...]:
        """Each value less the first."""
        first = self.values[0]
        return tuple(None if v is None or first is None else v - first for v in self.values)

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """Each value over the first."""
        first = self.values[0]
        return tuple(None if v is None or not first else v / first for v in self.values)

    @property
    def best(self) -> int | None:
        """Which report is best."""
        known = [v for v in self.values if v is not None]
        if self.better is Better.NEITHER or len(known) < 2:
            return None
        wanted = min(known) if self.better is Better.LOWER else max(known)
        return self.values.index(wanted) if known.count(wanted) == 1 else None


_SPREADS = (("TTFT", "ttft_s"), ("TPOT", "tpot_s"), ("ITL", "itl_s"), ("E2E", "e2e_s"))
_LATENCIES = tuple(
    (f"{name} {point}", f"{key}.{point}", Unit.SECONDS, Better.LOWER)
    for name, key in _SPREADS
    for point in ("mean", "p50", "p90", "p95", "p99", "max")
)
_SERVED = (
    ("Requests", "requests.submitted", Unit.COUNT, Better.NEITHER),
    ("Completed", "requests.completed", Unit.COUNT, Better.HIGHER),
    ("Failed", "requests.failed", Unit.COUNT, Better.LOWER),
    ("Rejected", "requests.rejected", Unit.COUNT, Better.LOWER),
    ("Goodput", "goodput_rps", Unit.PER_S, Better.HIGHER),
    ("In SLO", "slo_attainment", Unit.SHARE, Better.HIGHER),
)
_SPENT = (
    ("Requests/s", "throughput.requests_per_s", Unit.PER_S, Better.HIGHER),
    ("Input tokens/s", "throughput.input_tokens_per_s", Unit.PER_S, Better.HIGHER),
    ("Output tokens/s", "throughput.output_tokens_per_s", Unit.PER_S, Better.HIGHER),
    ("KV moved", "kv.bytes_moved", Unit.BYTES, Better.NEITHER),
    ("Preemptions", "kv.preemptions", Unit.COUNT, Better.LOWER),
    ("Migrations", "kv.migrations", Unit.COUNT, Better.NEITHER),
    ("Expired leases", "kv.lease_expiries", Unit.COUNT, Better.LOWER),
    ("Energy", "energy_j", Unit.JOULES, Better.LOWER),
    ("Cost", "cost_usd", Unit.USD, Better.LOWER),
    ("Duration", "duration_s", Unit.SECONDS, Better.NEITHER),
)
_TIER = (
    ("goodput", "goodput_rps", Unit.PER_S, Better.HIGHER),
    ("in SLO", "slo_attainment", Unit.SHARE, Better.HIGHER),
    ("TTFT p99", "ttft_s.p99", Unit.SECONDS, Better.LOWER),
    ("TPOT p99", "tpot_s.p99", Unit.SECONDS, Better.LOWER),
)


def compare(documents: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """The figures that at least one of `documents` knows, overall and, where one has several tiers, per tier.

    Documents fit `orchestrator.report.schema.SCHEMA`. Raises ValueError for fewer than two.
    """
    if len(documents) < 2:
        raise ValueError("a comparison takes two reports or more")
    return [f for f in _figures(documents) if any(v is not None for v in f.values)]


def differences(documents: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The circumstances (seed, version, policies, scenario) that are not the same in all, with the value of each."""
    facts = [_facts(d) for d in documents]
    names = dict.fromkeys(name for of in facts for name in of)
    values = {name: [of.get(name) for of in facts] for name in names}
    return {name: of for name, of in values.items() if any(value != of[0] for value in of)}


def common(documents: Sequence[Mapping[str, Any]], name: str) -> Any:
    """The fact of the scenario that is the same in all of them; None where it is not or where one lacks it."""
    first, *others = [d.get("scenario", {}).get(name) for d in documents]
    return first if all(value == first for value in others) else None


def _figures(documents: Sequence[Mapping[str, Any]]) -> Iterator[Figure]:
    for name, path, unit, better in (*_SERVED, *_LATENCIES, *_SPENT):
        yield Figure(name, unit, better, tuple(_at(d, path.split(".")) for d in documents))
    if any(len(d["tiers"]) > 1 for d in documents):
        for tier in dict.fromkeys(tier for d in documents for tier in d["tiers"]):
            for name, path, unit, better in _TIER:
                values = tuple(_at(d, ["tiers", tier, *path.split(".")]) for d in documents)
                yield Figure(f"{tier}: {name}", unit, better, values)


def _at(document: Any, path: Sequence[str]) -> Number | None:
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document if isinstance(document, int | float) else None


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seed": document["seed"],
        "version": document["version"],
        **{f"policy {k}": v for k, v in document.get("policies", {}).items()},
        **document.get("scenario", {}),
    }
