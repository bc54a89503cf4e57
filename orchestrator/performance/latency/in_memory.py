"""A memory-centric accelerator: every operator runs at the DRAM banks or in SRAM arrays, as its mapping says.

Source: HALO §4-5: one device, operators one after another, attention dense. The two latency curves of a device are those of
`Mapping.CENT` (all at the banks) and `Mapping.CIM` (all in the arrays).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.arithmetic import ARRAYS, FLOATS, Arithmetic
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.dense import dense_pairs
from orchestrator.performance.latency.dispatch import Number
from orchestrator.performance.latency.in_memory_operators import LAYER, InMemoryOperators, Linear
from orchestrator.performance.latency.mapping import ASSIGNMENTS, Assignment, Mapping
from orchestrator.performance.latency.row import Row, arrays
from orchestrator.performance.model import ModelShape


@dataclass(frozen=True, slots=True)
class InMemoryLatency:
    """A `LatencyModel` for hardware with `in_memory`; raises CatalogError for other hardware.

    The device has neither partitions nor clocks: points other than the full one raise CatalogError. `write_back` as in
    `InMemoryOperators`; off as in the source's calibration.
    """

    hardware: Hardware
    model: ModelShape
    mapping: Mapping = Mapping.FASTEST
    write_back: bool = False

    def __post_init__(self) -> None:
        _ = InMemoryOperators(self.hardware, self.model, FLOATS).engines

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """FC operators of both phases share a pass where both run on one engine; attention runs once for each phase.

        Every prefill and every decode of the batch produces a token, so the LM head has as many rows.
        """
        self._must_be_full(point)
        seconds = np.asarray(self._row_s(arrays(batch), ARRAYS))
        shape = np.broadcast_shapes(seconds.shape, np.shape(point.sm_share), np.shape(point.clock))
        return np.broadcast_to(seconds, shape)

    def one_s(self, row: Row[float], point: Point = FULL) -> float:
        """`iteration_s` of one row, in plain floats."""
        if point is not FULL:
            self._must_be_full(point)
        return self._row_s(row, FLOATS)

    def _row_s(self, row: Row[Number], arithmetic: Arithmetic[Number]) -> Number:
        operators, engines = InMemoryOperators(self.hardware, self.model, arithmetic, self.write_back), self._engines
        prefills, decodes, context = row.prefill_tokens, row.decode_requests, row.decode_context_tokens
        pairs = dense_pairs(row, arithmetic)
        layer_s = operators.vector_s(prefills + decodes, pairs + context)
        for operator in LAYER:
            layer_s = layer_s + self._linear_s(operators, operator, prefills, decodes)
        layer_s = layer_s + operators.attention_s(engines.prefill_attention, row.prefill_context_tokens, pairs)
        layer_s = layer_s + operators.attention_s(engines.decode_attention, context, context)
        produced = row.prefill_requests + decodes
        return self.model.layers * layer_s + operators.linear_s(engines.decode_linear, Linear.HEAD, produced)

    def _linear_s(
        self, operators: InMemoryOperators[Number], operator: Linear, prefills: Number, decodes: Number
    ) -> Number:
        """One FC operator for the tokens of both phases; free to choose, it shares the pass only if that is faster."""
        first, second = self._engines.prefill_linear, self._engines.decode_linear
        if first is second and first is not None:
            return operators.linear_s(first, operator, prefills + decodes)
        apart = operators.linear_s(first, operator, prefills) + operators.linear_s(second, operator, decodes)
        if first is not None:
            return apart
        return operators.arithmetic.minimum(operators.linear_s(None, operator, prefills + decodes), apart)

    @property
    def _engines(self) -> Assignment:
        return ASSIGNMENTS[self.mapping]

    def _must_be_full(self, point: Point) -> None:
        if np.any(np.not_equal(point.sm_share, 1.0)) or np.any(np.not_equal(point.clock, 1.0)):
            where = f"hardware {self.hardware.name}"
            raise CatalogError(
                "it has neither partitions nor clocks", where, "leave share and clock at their full values"
            )
