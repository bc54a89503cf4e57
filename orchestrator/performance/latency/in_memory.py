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
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.dense import dense_pairs
from orchestrator.performance.latency.in_memory_operators import InMemoryOperators, Linear
from orchestrator.performance.latency.mapping import ASSIGNMENTS, Engine, Mapping
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
        _ = self.operators

    @property
    def operators(self) -> InMemoryOperators:
        """Times of single operators."""
        return InMemoryOperators(self.hardware, self.model, self.write_back)

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """FC operators of both phases share a pass where both run on one engine; attention runs once for each phase.

        Every prefill and every decode of the batch produces a token, so the LM head has as many rows.
        """
        if np.any(np.not_equal(point.sm_share, 1.0)) or np.any(np.not_equal(point.clock, 1.0)):
            where = f"hardware {self.hardware.name}"
            raise CatalogError(
                "it has neither partitions nor clocks", where, "leave share and clock at their full values"
            )
        operators, engines = self.operators, ASSIGNMENTS[self.mapping]
        prefills, decodes = np.asarray(batch.prefill_tokens, np.float64), np.asarray(batch.decode_requests, np.float64)
        keys = np.asarray(batch.prefill_context_tokens, np.float64)
        context = np.asarray(batch.decode_context_tokens, np.float64)
        pairs = dense_pairs(batch)
        layer_s = operators.vector_s(prefills + decodes, pairs + context)
        for operator in (Linear.QKV, Linear.OUTPUT, Linear.FFN_IN, Linear.FFN_OUT):
            layer_s = layer_s + self._linear_s(operator, prefills, decodes)
        prefill = {engine: operators.attention_s(engine, keys, pairs) for engine in Engine}
        decode = {engine: operators.attention_s(engine, context, context) for engine in Engine}
        layer_s = layer_s + _choose(prefill, engines.prefill_attention) + _choose(decode, engines.decode_attention)
        produced = np.asarray(batch.prefill_requests + decodes)
        head = {engine: operators.linear_s(engine, Linear.HEAD, produced) for engine in Engine}
        return np.asarray(self.model.layers * layer_s + _choose(head, engines.decode_linear))

    def _linear_s(self, operator: Linear, prefills: Array, decodes: Array) -> Array:
        """One FC operator for the tokens of both phases; free to choose, it shares the pass only if that is faster."""
        engines, linear_s = ASSIGNMENTS[self.mapping], self.operators.linear_s
        together = {engine: linear_s(engine, operator, prefills + decodes) for engine in Engine}
        if engines.prefill_linear is not None and engines.prefill_linear is engines.decode_linear:
            return together[engines.prefill_linear]
        prefill = {engine: linear_s(engine, operator, prefills) for engine in Engine}
        decode = {engine: linear_s(engine, operator, decodes) for engine in Engine}
        apart = _choose(prefill, engines.prefill_linear) + _choose(decode, engines.decode_linear)
        return apart if self.mapping is not Mapping.FASTEST else np.minimum(_choose(together), apart)


def _choose(times: dict[Engine, Array], engine: Engine | None = None) -> Array:
    """Those of `engine`; without one the smaller."""
    return np.asarray(np.minimum(times[Engine.DRAM], times[Engine.ARRAY]) if engine is None else times[engine])
