"""Seconds of each operator of a layer on each engine of a memory-centric accelerator. Source: HALO §4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic

from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware, InMemory
from orchestrator.performance.latency.arithmetic import Arithmetic
from orchestrator.performance.latency.dispatch import Number
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


LAYER = (Linear.QKV, Linear.OUTPUT, Linear.FFN_IN, Linear.FFN_OUT)


@dataclass(frozen=True, slots=True)
class InMemoryOperators(Generic[Number]):
    """int8 weights, activations and KV. Rows without work take no time. An engine of None is the faster of both.

    `write_back` adds to QKV in the arrays what it takes to write K and V back to the DRAM (HALO §10).
    """

    hardware: Hardware
    model: ModelShape
    arithmetic: Arithmetic[Number]
    write_back: bool = False

    @property
    def engines(self) -> InMemory:
        """Figures of the engines. Raises CatalogError for hardware without them."""
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
        match operator:
            case Linear.QKV:
                return model.hidden, queries + kv
            case Linear.OUTPUT:
                return queries, model.hidden
            case Linear.FFN_IN:
                return model.hidden, (2 if model.gated else 1) * model.intermediate
            case Linear.FFN_OUT:
                return model.intermediate, model.hidden
            case Linear.HEAD:
                return model.hidden, model.vocabulary

    def linear_s(self, engine: Engine | None, operator: Linear, tokens: Number) -> Number:
        """Activations (tokens, depth) times weights (depth, columns)."""
        if engine is None:
            times = (self.linear_s(each, operator, tokens) for each in Engine)
            return self.arithmetic.minimum(*times)
        depth, columns = self.shape(operator)
        e, arithmetic, weight_bytes = self.engines, self.arithmetic, depth * columns * ELEMENT_BYTES
        flops = 2 * depth * columns * tokens
        if engine is Engine.DRAM:
            seconds = arithmetic.maximum(flops / e.dram_flops, weight_bytes / e.dram_bytes_per_s) + e.dram_overhead_s
        else:
            moved_s = tokens * ((depth + columns) * ELEMENT_BYTES / self.hardware.memory_bytes_per_s)
            compute_s = arithmetic.maximum(flops / (e.array_flops * e.array_utilization), moved_s)
            seconds = arithmetic.maximum(compute_s, weight_bytes / e.array_load_bytes_per_s) + e.array_overhead_s
            if self.write_back and operator is Linear.QKV:
                kv_bytes = 2 * self.model.kv_heads * self.model.head_dim * ELEMENT_BYTES
                seconds = seconds + tokens * (kv_bytes / self.hardware.memory_bytes_per_s)
        return arithmetic.where_positive(tokens, seconds)

    def attention_s(self, engine: Engine | None, keys: Number, pairs: Number) -> Number:
        """QK^T and PV: `keys` tokens of KV are read, `pairs` query-key pairs are computed per head."""
        if engine is None:
            times = (self.attention_s(each, keys, pairs) for each in Engine)
            return self.arithmetic.minimum(*times)
        e, model, maximum = self.engines, self.model, self.arithmetic.maximum
        kv_bytes = model.kv_heads * model.head_dim * ELEMENT_BYTES * keys
        flops = 2 * model.heads * model.head_dim * pairs
        if engine is Engine.DRAM:
            seconds = maximum(kv_bytes / e.dram_bytes_per_s, flops / e.dram_flops) + e.dram_overhead_s
        else:
            compute_s = flops / (e.array_flops * e.array_utilization_dynamic)
            seconds = maximum(kv_bytes / e.array_load_bytes_per_s, compute_s) + e.array_overhead_s
        return self.arithmetic.where_positive(pairs, 2 * seconds)

    def vector_s(self, tokens: Number, pairs: Number) -> Number:
        """Norms, rotary embedding, softmax, activation and residuals, on the vector units."""
        elements = 20 * self.model.hidden * tokens + 6 * self.model.heads * pairs
        return elements / self.engines.vector_elements_per_s
