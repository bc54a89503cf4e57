"""Figures of a trace, gathered row by row in bounded memory.

Lengths are counted by their value, which is exact and needs one counter per distinct length. Prefix sharing remembers every distinct
block id: the one thing that grows with the trace.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from orchestrator.workload.trace import TraceRequest

PERCENTS = (50, 90, 99)
MINUTE_S = 60.0


class Lengths:
    """Counts of one length."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, tokens: int) -> None:
        """One more request of this length."""
        self._counts[tokens] += 1

    def document(self) -> dict[str, float]:
        """Mean, quantiles, maximum and total in tokens. Quantiles equal `np.percentile` (linear) of all values."""
        values = np.array(sorted(self._counts), np.int64)
        counts = np.array([self._counts[int(v)] for v in values], np.int64)
        ends, total = np.cumsum(counts), int(counts.sum())
        tokens = int((values * counts).sum())
        out: dict[str, float] = {"mean": tokens / total}
        for percent in PERCENTS:
            place = percent / 100 * (total - 1)
            low, high = (values[np.searchsorted(ends, math.floor(place) + i, side="right")] for i in (0, place % 1 > 0))
            out[f"p{percent}"] = float(low + (high - low) * (place % 1))
        return out | {"max": int(values[-1]), "total": tokens}


class Arrivals:
    """Span, mean rate, burstiness and busiest minute of ascending arrivals."""

    def __init__(self) -> None:
        self._first = self._last = math.nan
        self._gaps = 0
        self._mean = self._squares = 0.0
        self._minute = self._in_minute = self._busiest = 0

    def add(self, at_s: float) -> None:
        """The next arrival."""
        if math.isnan(self._first):
            self._first = at_s
        else:
            # Welford's update: the sum of squares of small gaps would otherwise drown in rounding.
            gap = at_s - self._last
            self._gaps += 1
            delta = gap - self._mean
            self._mean += delta / self._gaps
            self._squares += delta * (gap - self._mean)
        self._last = at_s
        minute = int((at_s - self._first) // MINUTE_S)
        self._in_minute = self._in_minute + 1 if minute == self._minute else 1
        self._minute = minute
        self._busiest = max(self._busiest, self._in_minute)

    def document(self) -> dict[str, float | None] | None:
        """`span_s`, `rate` and `peak_minute_rps` in requests per second, `cv` of the gaps; None without arrivals.

        Minutes count from the first arrival; a trace shorter than one has no busiest.
        """
        if math.isnan(self._first):
            return None
        span_s = self._last - self._first
        return {
            "span_s": span_s,
            "rate_rps": self._gaps / span_s if span_s > 0 else None,
            "cv": math.sqrt(self._squares / self._gaps) / self._mean if self._mean > 0 else None,
            "peak_minute_rps": self._busiest / MINUTE_S if span_s >= MINUTE_S else None,
        }


class Statistics:
    """All figures of a trace; add its requests in order of time."""

    def __init__(self) -> None:
        self.requests = 0
        self._input, self._output, self._arrivals = Lengths(), Lengths(), Arrivals()
        self._blocks = 0
        self._distinct: set[int] = set()
        self._tiers: Counter[str] = Counter()

    def add(self, row: TraceRequest) -> None:
        """One more request."""
        self.requests += 1
        self._input.add(row.input_tokens)
        self._output.add(row.output_tokens)
        if row.arrival_s is not None:
            self._arrivals.add(row.arrival_s)
        if row.prefix_ids:
            self._blocks += len(row.prefix_ids)
            self._distinct.update(row.prefix_ids)
        if row.tier is not None:
            self._tiers[row.tier] += 1

    def document(self) -> dict[str, Any]:
        """The figures as a plain document; at least one request must have been added."""
        distinct = len(self._distinct)
        return {
            "requests": self.requests,
            "arrivals": self._arrivals.document(),
            "input_tokens": self._input.document(),
            "output_tokens": self._output.document(),
            "prefix": None
            if not self._blocks
            else {
                "blocks": self._blocks,
                "distinct_blocks": distinct,
                # A cache that keeps everything misses each block once.
                "ideal_hit_ratio": 1 - distinct / self._blocks,
            },
            "tiers": dict(sorted(self._tiers.items())),
        }
