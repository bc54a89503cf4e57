"""What happened over time: step functions per worker, and spans of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

# The name under which the front door has a series of its own: what waits there has no worker yet.
FRONT_DOOR = "front door"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A step function: `value[i]` holds from `time_s[i]` until `time_s[i + 1]`; both are of shape (n,), times ascend.

    Raises ValueError for anything else.
    """

    time_s: Floats
    value: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_s", np.asarray(self.time_s, np.float64))
        object.__setattr__(self, "value", np.asarray(self.value, np.float64))
        if self.time_s.ndim != 1 or self.time_s.shape != self.value.shape:
            raise ValueError(f"a series needs as many times as values; got {self.time_s.shape} and {self.value.shape}")
        if np.any(np.diff(self.time_s) < 0):
            raise ValueError("the times of a series must ascend")

    def __len__(self) -> int:
        return len(self.time_s)

    def at(self, time_s: Floats) -> Floats:
        """The value in force at each of `time_s`; 0 before the first."""
        index = np.searchsorted(self.time_s, time_s, "right") - 1
        return np.where(index >= 0, self.value[np.maximum(index, 0)], 0.0) if len(self) else np.zeros(len(time_s))


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of work on a worker: a step, a transfer, a request. `category` groups spans of one kind."""

    worker: str
    name: str
    category: str
    start_s: float
    duration_s: float
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Per worker the series that were recorded, and the spans of all workers in any order.

    Names of series: `queue` (requests waiting), `running` (requests), `kv` (share of blocks in use, 0..1), `clock_mhz`;
    any may be missing. `FRONT_DOOR` is no worker and has only a `queue`.
    """

    workers: Mapping[str, Mapping[str, Series]] = field(default_factory=dict)
    spans: Sequence[Span] = ()

    @property
    def end_s(self) -> float:
        """When the last value was taken or the last span ended; 0 where there is nothing."""
        ends = [s.start_s + s.duration_s for s in self.spans]
        ends += [float(s.time_s[-1]) for series in self.workers.values() for s in series.values() if len(s)]
        return max(ends, default=0.0)


def downsample(series: Series, points: int) -> Series:
    """At most `points` values of `series` that keep its first and last value and the extremes of each stretch of time.

    Time is cut into equal stretches; of each, the least and the greatest value stay, in the order they came. Raises
    ValueError for fewer than 4 points.
    """
    if points < 4:
        raise ValueError(f"{points} points cannot keep the ends and the extremes; ask for at least 4")
    count = len(series)
    if count <= points:
        return series
    start_s, end_s = series.time_s[0], series.time_s[-1]
    buckets = (points - 2) // 2
    if end_s > start_s:
        place = (series.time_s - start_s) / (end_s - start_s) * buckets
        edges = np.searchsorted(np.minimum(place.astype(np.int64), buckets - 1), np.arange(buckets))
    else:
        edges = np.arange(buckets) * count // buckets
    # Empty stretches share their edge with the next one.
    edges = np.unique(edges[edges < count])
    bucket_of = np.repeat(np.arange(len(edges)), np.diff(np.append(edges, count)))
    by_value = np.lexsort((series.value, bucket_of))
    least, greatest = by_value[edges], by_value[np.append(edges[1:], count) - 1]
    kept = np.unique(np.concatenate(([0], least, greatest, [count - 1])))
    return Series(series.time_s[kept], series.value[kept])
