"""Seconds of each operator of a layer on each engine of a memory-centric accelerator. Source: HALO §4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from orchestrator.performance.batch import Array
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware, InMemory
from orchestrator.performance.latency.mapping import Engine
from orchestrator.performance.model import ModelShape

ELEMENT_BYTES = 1


class Linear(Enum):
    """FC operators: fused QKV, attention output, FFN inputs, FFN output; and the LM head, once per produced token."""

    QKV = "qkv"
    OUTPUT = "output"
    FFN_IN = "ffn_in"
    FFN_OUT = "ffn_out"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class InMemoryOperators:
    """int8 weights, activations and KV. Rows without work take no time. Raises CatalogError for hardware without engines.

    `write_back` adds to QKV in the arrays what it takes to write K and V back to the DRAM (HALO §10).
    """

    hardware: Hardware
    model: ModelShape
    write_back: bool = False

    def __post_init__(self) -> None:
        _ = self.engines

    @property
    def engines(self) -> InMemory:
        """Figures of the engines."""
        if self.hardware.in_memory is None:
            where = f"hardware {self.hardware.name}"
            raise CatalogError(
                "it has no in-memory engines", where, "use a roofline model, or add in_memory to a catalog"
            )
        return self.hardware.in_memory

    @property
    def crossover_tokens(self) -> float:
        """Rows above which the arrays beat the banks on an FC operator, overheads left out. Source: HALO §5."""
        return ELEMENT_BYTES / self.engines.array_load_bytes_per_s * self.engines.dram_flops / 2

    def shape(self, operator: Linear) -> tuple[int, int]:
        """(depth, columns) of the operator's weights."""
        model = self.model
        queries, kv = model.heads * model.head_dim, 2 * model.kv_heads * model.head_dim
        return {
            Linear.QKV: (model.hidden, queries + kv),
            Linear.OUTPUT: (queries, model.hidden),
            Linear.FFN_IN: (model.hidden, (2 if model.gated else 1) * model.intermediate),
            Linear.FFN_OUT: (model.intermediate, model.hidden),
            Linear.HEAD: (model.hidden, model.vocabulary),
        }[operator]

    def linear_s(self, engine: Engine, operator: Linear, tokens: Array) -> Array:
        """Activations (tokens, depth) times weights (depth, columns)."""
        depth, columns = self.shape(operator)
        e, weight_bytes, flops = self.engines, depth * columns * ELEMENT_BYTES, 2 * tokens * depth * columns
        if engine is Engine.DRAM:
            seconds = np.maximum(weight_bytes / e.dram_bytes_per_s, flops / e.dram_flops) + e.dram_overhead_s
        else:
            moved_s = tokens * (depth + columns) * ELEMENT_BYTES / self.hardware.memory_bytes_per_s
            compute_s = np.maximum(flops / (e.array_flops * e.array_utilization), moved_s)
            seconds = np.maximum(weight_bytes / e.array_load_bytes_per_s, compute_s) + e.array_overhead_s
            if self.write_back and operator is Linear.QKV:
                kv_bytes = 2 * self.model.kv_heads * self.model.head_dim * tokens * ELEMENT_BYTES
                seconds = seconds + kv_bytes / self.hardware.memory_bytes_per_s
        return np.asarray(np.where(tokens > 0, seconds, 0.0))

    def attention_s(self, engine: Engine, keys: Array, pairs: Array) -> Array:
        """QK^T and PV: `keys` tokens of KV are read, `pairs` query-key pairs are computed per head."""
        e, model = self.engines, self.model
        kv_bytes = model.kv_heads * model.head_dim * keys * ELEMENT_BYTES
        flops = 2 * model.heads * model.head_dim * pairs
        if engine is Engine.DRAM:
            seconds = np.maximum(kv_bytes / e.dram_bytes_per_s, flops / e.dram_flops) + e.dram_overhead_s
        else:
            compute_s = flops / (e.array_flops * e.array_utilization_dynamic)
            seconds = np.maximum(kv_bytes / e.array_load_bytes_per_s, compute_s) + e.array_overhead_s
        return np.asarray(np.where(pairs > 0, 2 * seconds, 0.0))

    def vector_s(self, tokens: Array, pairs: Array) -> Array:
        """Norms, rotary embedding, softmax, activation and residuals, on the vector units."""
        elements = 20 * tokens * self.model.hidden + 6 * pairs * self.model.heads
        return np.asarray(elements / self.engines.vector_elements_per_s)
