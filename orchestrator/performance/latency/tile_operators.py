"""Seconds of each kind of operator on a tiled accelerator. Source: SPAD §5.2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.performance import chip as chips
from orchestrator.performance.batch import Array
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.base import FULL, Point

ELEMENT_BYTES = 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """Shares of the peaks that are reached, seconds that every operator costs, passes over memory.

    `exponent` blends compute, memory and feed time: 1 adds them, infinity takes the largest. `feed_bytes_per_s` is what one core
    can take in. `softmax_passes` and `norm_passes` count how often an unfused operator moves its operand. The source gives no
    FLOPs per element of vector operators; with these, memory decides but for the activation on narrow units.
    """

    compute: float = 0.769
    memory: float = 0.95
    link: float = 0.95
    vector: float = 0.5
    exponent: float = 1.323
    gemm_s: float = 11.9e-6
    vector_s: float = 20e-6
    collective_s: float = 30e-6
    feed_bytes_per_s: float = 65.6e9
    softmax_passes: float = 7.36
    norm_passes: float = 10.0
    softmax_flops: float = 20.0
    norm_flops: float = 10.0
    activation_flops: float = 20.0


@dataclass(frozen=True, slots=True)
class TileOperators:
    """fp16 operators at a point. Rows without work take no time. Raises CatalogError for hardware without chip geometry."""

    hardware: Hardware
    calibration: Calibration
    point: Point = FULL

    def __post_init__(self) -> None:
        chips.geometry(self.hardware)

    def linear_s(self, tokens: Array, depth: float, columns: float) -> Array:
        """Activations (tokens, depth) times weights (depth, columns)."""
        elements = tokens * depth + depth * columns + tokens * columns
        return self.gemm_s(tokens, depth, 2 * tokens * depth * columns, elements)

    def gemm_s(self, rows: Array, depth: Array | float, flops: Array, elements: Array) -> Array:
        """Products of `rows` by `depth`, `flops` and `elements` (read or written) all together.

        Rows come in whole arrays; filling and draining one costs its rows plus its columns in steps.
        """
        chip, calibration = chips.geometry(self.hardware), self.calibration
        rows, depth = np.maximum(rows, 1e-9), np.maximum(depth, 1e-9)
        used = rows / (np.ceil(rows / chip.array_rows) * chip.array_rows)
        used = used * depth / (depth + chip.array_rows + chip.array_columns)
        power, moved = calibration.exponent, ELEMENT_BYTES * elements
        blend = (flops / (self._speed * chips.tensor_flops(chip) * calibration.compute * used)) ** power
        blend = blend + (moved / (self.hardware.memory_bytes_per_s * calibration.memory)) ** power
        blend = blend + (moved / (self._speed * chip.cores * calibration.feed_bytes_per_s)) ** power
        return np.asarray(np.where(flops > 0, blend ** (1 / power) + calibration.gemm_s, 0.0))

    def vector_s(self, elements: Array, passes: float, flops: float) -> Array:
        """An elementwise operator that moves every element `passes` times and spends `flops` on each."""
        calibration = self.calibration
        memory_s = ELEMENT_BYTES * passes * elements / (self.hardware.memory_bytes_per_s * calibration.memory)
        peak = self._speed * chips.vector_flops(chips.geometry(self.hardware))
        compute_s = flops * elements / (peak * calibration.vector)
        return np.asarray(np.where(elements > 0, np.maximum(memory_s, compute_s) + calibration.vector_s, 0.0))

    def all_reduce_s(self, elements: Array, ranks: int) -> Array:
        """Ring over `ranks`; nothing with one."""
        moved = 2 * (ranks - 1) / ranks * ELEMENT_BYTES * elements
        seconds = moved / (self.hardware.scale_up_bytes_per_s * self.calibration.link) + self.calibration.collective_s
        return np.asarray(np.where(moved > 0, seconds, 0.0))

    @property
    def _speed(self) -> Array:
        """Share of the cores times their clock; memory and links keep theirs."""
        return np.asarray(np.asarray(self.point.sm_share, np.float64) * self.point.clock)
