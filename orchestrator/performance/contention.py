"""What two phases that run at the same time on one device take from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.latency.base import FULL, Point


@runtime_checkable
class SharesMemory(Protocol):
    """A latency model that knows its memory traffic."""

    def iteration_s(self, batch: Batch, point: Point = FULL, memory_share: Array | float = 1.0) -> Array:
        """As `LatencyModel`, with at most `memory_share` of the achievable bandwidth."""

    def memory_s(self, batch: Batch, miss_share: float = 0.0) -> Array:
        """Seconds that the batch's traffic takes at the whole achievable bandwidth; see `Contention.miss_share`."""


@dataclass(frozen=True, slots=True)
class Contention:
    """SM partitions do not divide the memory: decode gets the bandwidth that the prefill beside it leaves, at least `least`.

    A prefill's attention reads the KV once per tile of queries; `miss_share` of these repeated reads miss the L2 cache.
    Sources: DuetServe §4 guard 2 (rates, 0.3 at least); Nexus §3 note (i) for the repeated reads.
    """

    least: float = 0.3
    miss_share: float = 0.5

    def left(self, model: SharesMemory, prefill: Batch, prefill_s: Array) -> Array:
        """The share of the bandwidth that `prefill`, which takes `prefill_s`, leaves."""
        busy_s = model.memory_s(prefill, self.miss_share)
        runs_s = np.where(prefill_s > 0, prefill_s, np.inf)
        return np.maximum(self.least, 1 - busy_s / runs_s)
