"""Outcomes as arrays: figures over thousands of requests without a loop per figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.report.outcome import Outcome, Verdict

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
VERDICTS = tuple(Verdict)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """One row per outcome, shape (n,). Times and bounds in seconds; NaN where there is none.

    `verdict` indexes `VERDICTS`, `tier` indexes `tiers`, which are sorted by name.
    """

    tiers: tuple[str, ...]
    tier: Integers
    verdict: Integers
    end_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    ttft_slo_s: Floats
    tpot_slo_s: Floats
    input_tokens: Integers
    output_tokens: Integers
    clipped: Flags

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Columns:
        """The columns of `outcomes`."""
        names = [o.tier for o in outcomes]
        tiers = tuple(sorted(set(names)))
        index = {name: i for i, name in enumerate(tiers)}
        code = {verdict: i for i, verdict in enumerate(VERDICTS)}
        ttft_s, e2e_s = _floats([o.ttft_s for o in outcomes]), _floats([o.e2e_s for o in outcomes])
        output_tokens = _integers([o.output_tokens for o in outcomes])
        # As `Outcome.tpot_s`.
        tpot_s = np.where(output_tokens >= 2, (e2e_s - ttft_s) / np.maximum(output_tokens - 1, 1), np.nan)
        return cls(
            tiers,
            _integers([index[name] for name in names]),
            _integers([code[o.verdict] for o in outcomes]),
            _floats([o.end_s for o in outcomes]),
            ttft_s,
            tpot_s,
            e2e_s,
            _floats([o.ttft_slo_s for o in outcomes]),
            _floats([o.tpot_slo_s for o in outcomes]),
            _integers([o.input_tokens for o in outcomes]),
            output_tokens,
            np.asarray([o.clipped for o in outcomes], np.bool_),
        )

    @property
    def completed(self) -> Flags:
        """Which requests completed."""
        return np.equal(self.verdict, VERDICTS.index(Verdict.COMPLETED))

    @property
    def bounded(self) -> Flags:
        """Which requests have an SLO, as `Outcome.has_slo`."""
        return ~(np.isnan(self.ttft_slo_s) & np.isnan(self.tpot_slo_s))

    @property
    def met(self) -> Flags:
        """Which requests met their SLO, as `Outcome.meets_slo`."""
        # A comparison with NaN is false, so a bound or TPOT that is not there never misses.
        missed = (self.ttft_s > self.ttft_slo_s) | (self.tpot_s > self.tpot_slo_s)
        return self.completed & ~np.isnan(self.ttft_s) & ~missed


def gaps_s(outcomes: Sequence[Outcome]) -> dict[str, Floats]:
    """By tier, the pauses between deliveries of the requests that completed."""
    runs: dict[str, list[tuple[float, ...]]] = {}
    for o in outcomes:
        if o.gaps_s and o.verdict is Verdict.COMPLETED:
            runs.setdefault(o.tier, []).append(o.gaps_s)
    return {tier: np.fromiter(chain.from_iterable(of), np.float64) for tier, of in runs.items()}


def _floats(values: list[float | None]) -> Floats:
    # NumPy reads None as NaN, which the stubs do not know.
    items: Any = values
    return np.asarray(items, np.float64)


def _integers(values: list[int]) -> Integers:
    return np.asarray(values, np.int64)
