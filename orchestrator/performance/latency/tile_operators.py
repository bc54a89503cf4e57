"""Seconds of each kind of operator on a tiled accelerator. Source: SPAD §5.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Self

from orchestrator.performance import chip as chips
from orchestrator.performance.hardware import Chip, Hardware
from orchestrator.performance.latency.arithmetic import Arithmetic
from orchestrator.performance.latency.dispatch import Number

ELEMENT_BYTES = 2
TINY = 1e-9  # in place of 0 in a denominator of rows without work


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
class TileOperators(Generic[Number]):
    """fp16 operators of a device at a point. Rows without work take no time."""

    chip: Chip
    calibration: Calibration
    arithmetic: Arithmetic[Number]
    tensor_flops: Number
    vector_flops: Number
    feed_bytes_per_s: Number
    memory_bytes_per_s: float
    link_bytes_per_s: float

    @classmethod
    def at(cls, hardware: Hardware, calibration: Calibration, speed: Number, arithmetic: Arithmetic[Number]) -> Self:
        """`speed` is the share of the cores times their clock; memory and links keep theirs. Raises CatalogError without geometry."""
        chip = chips.geometry(hardware)
        return cls(
            chip,
            calibration,
            arithmetic,
            tensor_flops=speed * (chips.tensor_flops(chip) * calibration.compute),
            vector_flops=speed * (chips.vector_flops(chip) * calibration.vector),
            feed_bytes_per_s=speed * (chip.cores * calibration.feed_bytes_per_s),
            memory_bytes_per_s=hardware.memory_bytes_per_s * calibration.memory,
            link_bytes_per_s=hardware.scale_up_bytes_per_s * calibration.link,
        )

    def linear_s(self, tokens: Number, depth: float, columns: float) -> Number:
        """Activations (tokens, depth) times weights (depth, columns)."""
        elements = tokens * (depth + columns) + depth * columns
        return self.gemm_s(tokens, 0 * tokens + depth, 2 * tokens * (depth * columns), elements)

    def gemm_s(self, rows: Number, depth: Number, flops: Number, elements: Number) -> Number:
        """Products of `rows` by `depth`, `flops` and `elements` (read or written) all together.

        Rows come in whole arrays; filling and draining one costs its rows plus its columns in steps.
        """
        chip, calibration, arithmetic = self.chip, self.calibration, self.arithmetic
        rows, depth = arithmetic.maximum(rows, TINY), arithmetic.maximum(depth, TINY)
        used = rows / (arithmetic.ceil(rows / chip.array_rows) * chip.array_rows)
        used = used * depth / (depth + (chip.array_rows + chip.array_columns))
        power, moved = calibration.exponent, ELEMENT_BYTES * elements
        blend = (flops / (self.tensor_flops * used)) ** power
        blend = blend + (moved / self.memory_bytes_per_s) ** power + (moved / self.feed_bytes_per_s) ** power
        return arithmetic.where_positive(flops, blend ** (1 / power) + calibration.gemm_s)

    def vector_s(self, elements: Number, passes: float, flops: float) -> Number:
        """An elementwise operator that moves every element `passes` times and spends `flops` on each."""
        memory_s = ELEMENT_BYTES * passes * elements / self.memory_bytes_per_s
        seconds = self.arithmetic.maximum(memory_s, flops * elements / self.vector_flops)
        return self.arithmetic.where_positive(elements, seconds + self.calibration.vector_s)

    def all_reduce_s(self, elements: Number, ranks: int) -> Number:
        """Ring over `ranks`; nothing with one."""
        moved = 2 * (ranks - 1) / ranks * ELEMENT_BYTES * elements
        return self.arithmetic.where_positive(moved, moved / self.link_bytes_per_s + self.calibration.collective_s)
