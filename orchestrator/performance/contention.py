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

    def memory_s(self, batch: Batch, repeated_reads: float = 0.0) -> Array:
        """Seconds that the batch's traffic takes at the whole achievable bandwidth; see `Contention.repeated_reads`."""


@dataclass(frozen=True, slots=True)
class Contention:
    """SM partitions do not divide the memory: decode gets the bandwidth that the prefill beside it leaves, at least `least`.

    A prefill's attention reads the KV once per tile of 128 queries and head; `repeated_reads` is the part of these reads that
    misses the caches, more than 1 where tiles are smaller. 2 makes the decode of Qwen2.5-3B on an L20 36 % slower when the
    cached prompt beside it grows from 2000 to 10000 tokens, as measured there. Below 0.3 a longer prompt may speed decode up,
    since it spreads its weight reads over more time.
    Sources: DuetServe §4 guard 2 (rates, 0.3 at least); Nexus §1 observation 3, §3 note (i) (repeated reads).
    """

    least: float = 0.3
    repeated_reads: float = 0.5

    def left(self, model: SharesMemory, prefill: Batch, prefill_s: Array) -> Array:
        """The share of the bandwidth that `prefill`, which takes `prefill_s`, leaves."""
        busy_s = model.memory_s(prefill, self.repeated_reads)
        runs_s = np.where(prefill_s > 0, prefill_s, np.inf)
        return np.maximum(self.least, 1 - busy_s / runs_s)
