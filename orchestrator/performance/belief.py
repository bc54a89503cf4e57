"""What a planner believes of a worker's speed: planes fitted to measured iterations.

seconds = c0 + c1·n + Σ c·(n beyond each knee) + c·requests + c·pairs + c·prefill KV tokens + c·decode KV tokens, where n are
the tokens of the batch, one set of coefficients for prefill, decode and mixed batches each and for each profiled point. No
coefficient is negative, so a prediction never falls as a batch grows.
Sources: VoltanaLLM §3.1 (non-negative planes per clock; here one convex curve in n for its batch segments), DuetServe §3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.row import Row
from orchestrator.performance.nnls import nnls
from orchestrator.performance.profile import Samples, fields

KNEES = (64.0, 192.0, 512.0)
"""Batch tokens at which the curve may bend: where weight reads cease to hide the computation."""


class Kind(IntEnum):
    """Which phases a batch holds."""

    PREFILL = 0
    DECODE = 1
    MIXED = 2


@dataclass(frozen=True, slots=True)
class RelativeError:
    """|predicted / measured - 1| over some iterations."""

    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Belief:
    """A `LatencyModel`. Between profiled points it interpolates linearly in 1/share and 1/clock; beyond them the nearest counts.

    A kind of batch that was never measured is predicted as NaN. `coefficients` has shape (shares, clocks, kinds, features).
    """

    shares: Array
    clocks: Array
    coefficients: Array
    _planes: dict[tuple[Array | float, Array | float], list[list[float]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def fit(cls, samples: Samples) -> Self:
        """Least squares of relative errors. Raises ValueError unless the samples' points form a grid of shares and clocks."""
        share, clock = np.asarray(samples.point.sm_share), np.asarray(samples.point.clock)
        shares, clocks = np.unique(share), np.unique(clock)
        features, kinds = _features(samples.batch), _kinds(samples.batch)
        coefficients = np.full((len(shares), len(clocks), len(Kind), features.shape[-1]), np.nan)
        for i, j in np.ndindex(len(shares), len(clocks)):
            here = (share == shares[i]) & (clock == clocks[j])
            if not here.any():
                raise ValueError(f"no samples at share {shares[i]:g} and clock {clocks[j]:g}; profile the whole grid")
            for kind in Kind:
                rows = here & (kinds == kind)
                if rows.any():
                    seconds = samples.seconds[rows]
                    coefficients[i, j, kind] = nnls(features[rows] / seconds[:, None], np.ones(len(seconds)))
        return cls(shares, clocks, coefficients)

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """Seconds per row, without noise; 0 for an empty row."""
        planes = self._interpolated(np.asarray(point.sm_share, np.float64), np.asarray(point.clock, np.float64))
        features, kinds = _features(batch), _kinds(batch)
        shape = np.broadcast_shapes(planes.shape[:-2], kinds.shape)
        planes = np.broadcast_to(planes, (*shape, *planes.shape[-2:]))
        chosen = np.take_along_axis(planes, np.broadcast_to(kinds, shape)[..., None, None], -2)[..., 0, :]
        return np.where(features[..., 1] > 0, (chosen * features).sum(-1), 0.0)

    def one_s(self, row: Row[float], point: Point = FULL) -> float:
        """`iteration_s` of one row, in plain floats."""
        n = row.prefill_tokens + row.decode_requests
        if n <= 0:
            return 0.0
        key = (point.sm_share, point.clock)
        planes = self._planes.get(key)
        if planes is None:
            at = self._interpolated(np.asarray(point.sm_share, np.float64), np.asarray(point.clock, np.float64))
            planes = self._planes[key] = at.tolist()
        kind = Kind.DECODE if row.prefill_tokens <= 0 else Kind.MIXED if row.decode_requests > 0 else Kind.PREFILL
        base, each, request, pair, cached, context, *bends = planes[kind]
        seconds: float = (
            base + each * n + request * (row.prefill_requests + row.decode_requests) + pair * row.prefill_pairs
        )
        seconds += cached * row.prefill_context_tokens + context * row.decode_context_tokens
        for knee, bend in zip(KNEES, bends, strict=True):
            if n > knee:
                seconds += bend * (n - knee)
        return seconds

    def relative_error(self, samples: Samples) -> Mapping[Kind, RelativeError]:
        """For each kind of batch in `samples`, which should not be those of the fit."""
        error = np.abs(self.iteration_s(samples.batch, samples.point) / samples.seconds - 1)
        kinds = _kinds(samples.batch)
        return {
            Kind(kind): RelativeError(*(float(np.percentile(error[kinds == kind], q)) for q in (50, 95)))
            for kind in np.unique(kinds)
        }

    def _interpolated(self, share: Array, clock: Array) -> Array:
        """Coefficients at the points, shape (..., kinds, features)."""
        (i, k, u), (j, m, v) = _between(self.shares, share), _between(self.clocks, clock)
        u, v = u[..., None, None], v[..., None, None]
        c = self.coefficients
        return np.asarray((1 - u) * ((1 - v) * c[i, j] + v * c[i, m]) + u * ((1 - v) * c[k, j] + v * c[k, m]))


def _between(known: Array, wanted: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array]:
    """The neighbours of `wanted` in ascending `known`, and how far it is from the first to the second by its reciprocal."""
    upper = np.clip(np.searchsorted(known, wanted), 0, len(known) - 1)
    lower = np.maximum(upper - 1, 0)
    width = 1 / known[lower] - 1 / known[upper]
    far = np.divide(1 / known[lower] - 1 / wanted, width, out=np.ones_like(width), where=width > 0)
    return lower, upper, np.clip(far, 0, 1)


def _kinds(batch: Batch) -> npt.NDArray[np.int64]:
    prefills, decodes = np.asarray(batch.prefill_tokens) > 0, np.asarray(batch.decode_requests) > 0
    return np.where(prefills, np.where(decodes, Kind.MIXED, Kind.PREFILL), Kind.DECODE)


def _features(batch: Batch) -> Array:
    tokens, pairs, cached, prefills, decodes, context = fields(batch)
    n = tokens + decodes
    bends = [np.maximum(n - knee, 0) for knee in KNEES]
    return np.stack(np.broadcast_arrays(1.0, n, prefills + decodes, pairs, cached, context, *bends), axis=-1)
