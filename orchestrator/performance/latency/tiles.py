"""Operator roofline of a tiled accelerator: how cores, systolic arrays, vector units and bandwidth shape an iteration.

Source: SPAD §5.2, calibrated there to an H100 with BLOOM-176B in fp16: norms and softmax unfused, attention dense, LM head left
out (0.8 % of that decode). For a measured engine fit `Calibration` to its profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.dense import dense_pairs
from orchestrator.performance.latency.tile_operators import Calibration, TileOperators
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
        TileOperators(self.hardware, self.calibration)
        if self.tensor_parallel < 1 or not divides(self.model, self.tensor_parallel):
            what = f"{self.model.heads} heads cannot be split over {self.tensor_parallel} devices"
            raise CatalogError(what, f"model {self.model.name}", "use a tensor parallel that divides its heads")

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """Prefill and decode tokens share GEMMs, norms and collectives; attention runs once for each phase."""
        model, ranks, calibration = self.model, self.tensor_parallel, self.calibration
        operators = TileOperators(self.hardware, calibration, point)
        prefills, decodes = np.asarray(batch.prefill_tokens, np.float64), np.asarray(batch.decode_requests, np.float64)
        tokens, context = prefills + decodes, np.asarray(batch.decode_context_tokens, np.float64)
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
        keys, requests = np.asarray(batch.prefill_context_tokens, np.float64), np.asarray(batch.prefill_requests)
        prefill_s = self._attention_s(operators, requests, prefills, keys, dense_pairs(batch))
        decode_s = self._attention_s(operators, decodes, decodes, context, context)
        layer_s = linear_s + 2 * norm_s + 2 * reduce_s + activation_s + prefill_s + decode_s
        return np.asarray(model.layers * layer_s)

    @property
    def _heads(self) -> tuple[float, float]:
        """Query and KV heads of a rank."""
        return self.model.heads / self.tensor_parallel, max(self.model.kv_heads / self.tensor_parallel, 1)

    def _attention_s(
        self, operators: TileOperators, requests: Array, queries: Array, keys: Array, pairs: Array
    ) -> Array:
        """QK^T, softmax and PV; the query heads that share KV are rows of one product, as long as the mean request."""
        heads, kv_heads = self._heads
        depth, some = self.model.head_dim, np.maximum(requests, 1e-9)
        rows, scores = np.asarray(heads / kv_heads * queries / some), np.asarray(heads * pairs)
        flops, elements = 2 * scores * depth, (heads * queries + kv_heads * keys) * depth + scores
        softmax_s = operators.vector_s(scores, self.calibration.softmax_passes, self.calibration.softmax_flops)
        score_s = operators.gemm_s(rows, depth, flops, elements)
        return np.asarray(score_s + softmax_s + operators.gemm_s(rows, keys / some, flops, elements))
