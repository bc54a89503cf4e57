"""The interface of latency models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.latency.row import Row


@dataclass(frozen=True, slots=True)
class Point:
    """Where a device runs: its share of the SMs (0 to 1] and its clock as a fraction of the highest (0 to 1]."""

    sm_share: Array | float = 1.0
    clock: Array | float = 1.0


FULL = Point()


class LatencyModel(Protocol):
    """Pure: the same batch at the same point takes the same time."""

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """Seconds per row of `batch`, shape (n,) or () for scalars; 0 for an empty row. Fields of both broadcast."""


@runtime_checkable
class ScalarModel(Protocol):
    """A latency model that also evaluates one row without arrays, which takes microseconds."""

    def one_s(self, row: Row[float], point: Point = FULL) -> float:
        """`iteration_s` of one row."""
