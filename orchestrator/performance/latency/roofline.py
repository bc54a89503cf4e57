"""Operator-level roofline with host dispatch.

Every operator takes the longer of its compute and its memory time; a host issues them one by one, or launches a captured
graph. Prefill and decode tokens of one batch share the token-level operators, so a mixed batch reads the weights once;
attention is charged for each phase.

Compute grows with the share of SMs, less so beyond the device's knee, and with the clock. Bandwidth grows with the share up to
the device's saturation share and does not depend on the clock, except below the power model's knee. The host's time depends on
neither. A GEMM of n rows reaches n / (n + half_speed_tokens·share) of the achievable compute. `Dispatch.kernel_s` is added to
every operator on the device; about 3 us on an H100 and 6 us on an A100 fit measured GEMMs (`bench.latency`).
Sources: BestServe §3.1, §3.2; DuetServe §3; Nexus §3 for the knee; VoltanaLLM §3.2 for the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.dtype import ELEMENT_BYTES
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.costs import Costs, Rates, Work, costs, device_s, work
from orchestrator.performance.latency.dispatch import Graphs, Number, finish_s
from orchestrator.performance.latency.operators import head, layer
from orchestrator.performance.latency.row import Row, arrays
from orchestrator.performance.memory import divides
from orchestrator.performance.model import ModelShape

QUERY_TILE = 128
"""Queries that share one pass over the KV. Source: FlashAttention-2 and -3, forward block sizes at head dim 128."""


class Roofline:
    """A `LatencyModel` of `model` on `tensor_parallel` devices; weights, activations and KV in `dtype`.

    `graphs`: decode batches that are captured (None: everything is issued operator by operator).
    Raises CatalogError for a dtype that the device has no rate for, where heads do not divide, and for several devices whose
    link is not known.
    """

    def __init__(
        self,
        hardware: Hardware,
        model: ModelShape,
        tensor_parallel: int = 1,
        dtype: str = "bfloat16",
        graphs: Graphs | None = None,
    ) -> None:
        if dtype not in hardware.compute_flops:
            known = ", ".join(hardware.compute_flops)
            raise CatalogError(f"no compute rate for {dtype}", f"hardware {hardware.name}", f"use {known}")
        if tensor_parallel < 1 or not divides(model, tensor_parallel):
            what = f"{model.heads} heads and {model.kv_heads} KV heads cannot be split over {tensor_parallel} devices"
            raise CatalogError(what, f"model {model.name}", "use a tensor parallel that divides its heads")
        if tensor_parallel > 1 and not hardware.scale_up_bytes_per_s:
            what = f"{tensor_parallel} devices exchange data, and the rate of their link is not known"
            raise CatalogError(what, f"hardware {hardware.name}", "set scale_up_bytes_per_s, or use tensor parallel 1")
        self.hardware = hardware
        self.model = model
        self.tensor_parallel = tensor_parallel
        self._layer = layer(model, tensor_parallel, ELEMENT_BYTES[dtype])
        self._head = head(model, tensor_parallel, ELEMENT_BYTES[dtype])
        self._compute = hardware.compute_flops[dtype] * hardware.efficiency.compute
        self._largest_graph = graphs.largest if graphs else 0
        power, clocks = hardware.power, hardware.clocks_mhz
        self._knee = power.knee_mhz / max(clocks) if power and clocks else 0.0
        self._scalar_costs: dict[tuple[float, float], Costs[float]] = {}

    def iteration_s(self, batch: Batch, point: Point = FULL, memory_share: Array | float = 1.0) -> Array:
        """Seconds per row. At most `memory_share` of the achievable bandwidth is left to these iterations."""
        done = self.work(batch, point, memory_share)
        prefill, decodes = np.asarray(batch.prefill_tokens), np.asarray(batch.decode_requests)
        dispatch, layers = self.hardware.dispatch, self.model.layers
        seconds = finish_s(*done, layers, dispatch.operator_s, np.maximum)
        if self._largest_graph:
            device = device_s(done, layers)
            captured = (prefill == 0) & (decodes <= self._largest_graph)
            seconds = np.where(captured, dispatch.graph_launch_s + device, seconds)
        return np.where(prefill + decodes > 0, seconds + dispatch.iteration_s, 0.0)

    def one_s(self, row: Row[float], point: Point = FULL) -> float:
        """`iteration_s` of one row, in plain floats."""
        if row.prefill_tokens + row.decode_requests <= 0:
            return 0.0
        key = (point.sm_share, point.clock)
        chosen = self._scalar_costs.get(key)  # type: ignore[arg-type]
        if chosen is None:
            share, clock = float(point.sm_share), float(point.clock)
            chosen = self._scalar_costs[share, clock] = self._costs(share, clock, 1.0, min, max)
        done = work(chosen, row, max)
        dispatch, layers = self.hardware.dispatch, self.model.layers
        if row.prefill_tokens == 0 and row.decode_requests <= self._largest_graph:
            return dispatch.iteration_s + dispatch.graph_launch_s + device_s(done, layers)
        return dispatch.iteration_s + finish_s(*done, layers, dispatch.operator_s, max)

    def memory_s(self, batch: Batch, repeated_reads: float = 0.0) -> Array:
        """Seconds that the traffic of each row takes at the whole achievable bandwidth.

        Prefill attention reads a head's KV once per tile of queries; `repeated_reads` of these reads count besides.
        """
        rows = np.asarray(batch.prefill_tokens, np.float64) + batch.decode_requests
        context = np.asarray(batch.prefill_context_tokens, np.float64) + batch.decode_context_tokens
        again = repeated_reads / QUERY_TILE * np.asarray(batch.prefill_pairs, np.float64)
        attention = self._layer.attention
        per_layer = self._layer.fixed_bytes + (self._layer.row_bytes + attention.row_bytes) * rows
        per_layer = per_layer + attention.context_bytes * context + attention.row_bytes * again
        traffic = self.model.layers * per_layer + self._head.fixed_bytes
        bandwidth = self.hardware.memory_bytes_per_s * self.hardware.efficiency.memory
        return np.where(rows > 0, traffic / bandwidth, 0.0)

    def work(self, batch: Batch, point: Point = FULL, memory_share: Array | float = 1.0) -> Work[Array]:
        """Device seconds per row of each operator of a layer, without the host."""
        share, clock, available = (np.asarray(x, np.float64) for x in (point.sm_share, point.clock, memory_share))
        chosen = self._costs(share, clock, available, np.minimum, np.maximum)
        return work(chosen, arrays(batch), np.maximum)

    def _costs(
        self,
        share: Number,
        clock: Number,
        available: Number,
        minimum: Callable[[Any, Any], Any],
        maximum: Callable[[Number, Number], Number],
    ) -> Costs[Number]:
        efficiency = self.hardware.efficiency
        reached = minimum(minimum(1.0, share / efficiency.saturation_share), available)
        if self._knee > 0:
            reached = reached * minimum(1.0, clock / self._knee)
        knee, beyond = efficiency.knee_share, efficiency.beyond_knee
        steep = minimum(share, knee)
        effective = (steep + beyond * (share - steep)) / (knee + beyond * (1 - knee))
        rates = Rates(
            compute=self._compute * effective * clock,
            memory=self.hardware.memory_bytes_per_s * efficiency.memory * reached,
            link=self.hardware.scale_up_bytes_per_s * efficiency.link,
            ramp_tokens=efficiency.half_speed_tokens * share,
        )
        return costs(self._layer, self._head, rates, self.hardware.dispatch, maximum)
