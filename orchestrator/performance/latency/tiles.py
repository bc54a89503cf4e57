"""Operator roofline of a tiled accelerator: how cores, systolic arrays, vector units and bandwidth shape an iteration.

Source: SPAD §5.2, calibrated there to an H100 with BLOOM-176B in fp16: norms and softmax unfused, attention dense, LM head left
out (0.8 % of that decode). For a measured engine fit `Calibration` to its profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.chip import geometry
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.arithmetic import ARRAYS, FLOATS
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.dense import dense_pairs
from orchestrator.performance.latency.dispatch import Number
from orchestrator.performance.latency.row import Row, arrays
from orchestrator.performance.latency.tile_operators import TINY, Calibration, TileOperators
from orchestrator.performance.memory import divides
from orchestrator.performance.model import ModelShape


@dataclass(frozen=True, slots=True)
class Tiles:
    """A `LatencyModel` for hardware with chip geometry; raises CatalogError for other hardware, and where heads do not divide.

    A point's share takes cores away and its clock slows them down; the memory keeps its bandwidth. With fewer KV heads than ranks
    every rank holds one.
    """

    hardware: Hardware
    model: ModelShape
    tensor_parallel: int = 1
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        geometry(self.hardware)
        if self.tensor_parallel < 1 or not divides(self.model, self.tensor_parallel):
            what = f"{self.model.heads} heads cannot be split over {self.tensor_parallel} devices"
            raise CatalogError(what, f"model {self.model.name}", "use a tensor parallel that divides its heads")

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """Prefill and decode tokens share GEMMs, norms and collectives; attention runs once for each phase."""
        speed = np.asarray(point.sm_share, np.float64) * np.asarray(point.clock, np.float64)
        operators = TileOperators.at(self.hardware, self.calibration, speed, ARRAYS)
        return np.asarray(self._row_s(operators, arrays(batch)))

    def one_s(self, row: Row[float], point: Point = FULL) -> float:
        """`iteration_s` of one row, in plain floats."""
        speed = float(point.sm_share) * float(point.clock)
        operators = TileOperators.at(self.hardware, self.calibration, speed, FLOATS)
        return self._row_s(operators, row)

    def _row_s(self, operators: TileOperators[Number], row: Row[Number]) -> Number:
        model, ranks, calibration = self.model, self.tensor_parallel, self.calibration
        prefills, decodes, context = row.prefill_tokens, row.decode_requests, row.decode_context_tokens
        tokens = prefills + decodes
        heads, kv_heads = self._heads
        ffn, inputs = model.intermediate / ranks, 2 if model.gated else 1
        linear_s = (
            operators.linear_s(tokens, model.hidden, (heads + 2 * kv_heads) * model.head_dim)
            + operators.linear_s(tokens, heads * model.head_dim, model.hidden)
            + operators.linear_s(tokens, model.hidden, inputs * ffn)
            + operators.linear_s(tokens, ffn, model.hidden)
        )
        norm_s = operators.vector_s(tokens * model.hidden, calibration.norm_passes, calibration.norm_flops)
        reduce_s = operators.all_reduce_s(tokens * model.hidden, ranks)
        activation_s = operators.vector_s(tokens * ffn, inputs + 1, calibration.activation_flops)
        pairs = dense_pairs(row, operators.arithmetic)
        prefill_s = self._attention_s(operators, row.prefill_requests, prefills, row.prefill_context_tokens, pairs)
        decode_s = self._attention_s(operators, decodes, decodes, context, context)
        return model.layers * (linear_s + 2 * norm_s + 2 * reduce_s + activation_s + prefill_s + decode_s)

    @property
    def _heads(self) -> tuple[float, float]:
        """Query and KV heads of a rank."""
        return self.model.heads / self.tensor_parallel, max(self.model.kv_heads / self.tensor_parallel, 1)

    def _attention_s(
        self, operators: TileOperators[Number], requests: Number, queries: Number, keys: Number, pairs: Number
    ) -> Number:
        """QK^T, softmax and PV; the query heads that share KV are rows of one product, as long as the mean request."""
        heads, kv_heads = self._heads
        depth, some = self.model.head_dim, operators.arithmetic.maximum(requests, TINY)
        rows, scores = heads / kv_heads * queries / some, heads * pairs
        flops, elements = 2 * scores * depth, (heads * queries + kv_heads * keys) * depth + scores
        softmax_s = operators.vector_s(scores, self.calibration.softmax_passes, self.calibration.softmax_flops)
        score_s = operators.gemm_s(rows, 0 * rows + depth, flops, elements)
        return score_s + softmax_s + operators.gemm_s(rows, keys / some, flops, elements)
