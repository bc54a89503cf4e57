"""Mean, percentiles and maximum of a distribution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PERCENTILES = (50, 90, 95, 99)
BINS = 4096

Floats = npt.NDArray[np.float64]


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
    def of(cls, values: Iterable[float | None] | Floats, weights: npt.ArrayLike | None = None) -> Spread:
        """Of the values that are neither None nor NaN.

        With `weights`, whole numbers of the same length, the percentiles are those of `np.repeat(values, weights)`.
        Raises ValueError for weights that are negative or of another length, and for infinite weighted values.
        """
        data = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
        if weights is not None:
            return _weighted(data, np.asarray(weights))
        data = data[~np.isnan(data)]
        if not len(data):
            return cls()
        p50, p90, p95, p99 = (float(p) for p in np.percentile(data, PERCENTILES))
        return cls(float(data.mean()), p50, p90, p95, p99, float(data.max()))

    def document(self) -> dict[str, float | None]:
        """As it stands in a report."""
        return {
            "mean": self.mean,
            "p50": self.p50,
            "p90": self.p90,
            "p95": self.p95,
            "p99": self.p99,
            "max": self.max,
        }


def _weighted(values: Floats, weights: npt.NDArray[Any]) -> Spread:
    if weights.shape != values.shape or not np.issubdtype(weights.dtype, np.integer):
        raise ValueError(f"weights must be {len(values)} whole numbers; got {weights.dtype} of shape {weights.shape}")
    least = weights.min() if len(weights) else 0
    if least < 0:
        raise ValueError("a weight is negative")
    if least == 0 or np.isnan(values.min()):
        counted = (weights > 0) & ~np.isnan(values)
        values, weights = values[counted], weights[counted]
    if not len(values):
        return Spread()
    total, weights = int(weights.sum()), weights.astype(np.float64)
    # The linear interpolation of np.percentile, with its own rounding.
    places = (total - 1) * (np.asarray(PERCENTILES) / 100)
    before = np.floor(places)
    share = places - before
    left, right = np.split(_ranked(values, weights, np.append(before, np.minimum(before + 1, total - 1))), 2)
    between = np.where(share >= 0.5, right - (right - left) * (1 - share), left + (right - left) * share)
    p50, p90, p95, p99 = (float(p) for p in between)
    # Not a dot product: the threads of BLAS cost more than they save here, and round as they please.
    return Spread(float((values * weights).sum()) / total, p50, p90, p95, p99, float(values.max()))


def _ranked(values: Floats, weights: npt.NDArray[Any], ranks: Floats) -> Floats:
    """The values at `ranks` (from 0) of the sorted, expanded values.

    Only the bins that a rank falls into are sorted: ranks are few and sorting everything is what costs.
    """
    low, high = values.min(), values.max()
    width = high - low
    if not np.isfinite(width):
        raise ValueError("weighted values must be finite")
    if width == 0:
        return np.full(len(ranks), low)
    # In place: memory, not arithmetic, is what costs here.
    place = values - low
    place /= width
    place *= BINS - 1
    bins = place.astype(np.intp)
    # Sums of whole numbers, exact in float64 below 2**53.
    ends = np.cumsum(np.bincount(bins, weights, BINS))
    wanted = np.searchsorted(ends, ranks, "right")
    found = np.empty(len(ranks))
    for bin_ in np.unique(wanted):
        inside = np.flatnonzero(bins == bin_)
        inside = inside[np.argsort(values[inside])]
        start = ends[bin_ - 1] if bin_ else 0.0
        here = wanted == bin_
        nth = np.searchsorted(start + np.cumsum(weights[inside]), ranks[here], "right")
        found[here] = values[inside[nth]]
    return found
