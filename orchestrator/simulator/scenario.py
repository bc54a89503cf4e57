"""From `cluster.yaml` to what simulated workers run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.config import Cluster, Pool, Spec
from orchestrator.core.config.simulation import LatencyKind
from orchestrator.performance.catalog import Catalog
from orchestrator.performance.contention import Contention
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.base import LatencyModel
from orchestrator.performance.latency.dispatch import Graphs
from orchestrator.performance.latency.in_memory import InMemoryLatency
from orchestrator.performance.latency.linear import Linear
from orchestrator.performance.latency.roofline import Roofline
from orchestrator.performance.latency.tiles import Tiles
from orchestrator.performance.links import Link
from orchestrator.performance.memory import kv_bytes_per_token, kv_capacity_tokens
from orchestrator.performance.model import ModelShape
from orchestrator.performance.truth import CAPTURED_SIZES, Truth
from orchestrator.simulator.device import Device

BLOCK_TOKENS = 16
TRANSFER_LATENCY_S = 50e-6
"""What starting a transfer costs over a link that the catalog gives only a rate for."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Model and devices of a cluster. `devices` has one entry per pool, in order; pools alike share it."""

    spec: Spec
    model: ModelShape
    block_tokens: int
    devices: tuple[Device, ...]

    @property
    def max_tokens(self) -> int:
        """Longest prompt and output together: what every worker can hold, as a front door takes no longer requests."""
        held = min(device.kv_blocks for device in self.devices) * self.block_tokens
        return min(self.spec.model.max_len or self.model.max_tokens, held)


def scenario(cluster: Cluster) -> Scenario:
    """Look everything up; raises CatalogError for what the catalog lacks and for a model that does not fit."""
    spec = cluster.spec
    catalog = Catalog.load(Path(spec.simulation.catalog) if spec.simulation.catalog else None)
    model = catalog.model(spec.simulation.model or spec.model.path)
    block_tokens = spec.engine.block_tokens or BLOCK_TOKENS
    made: dict[tuple[str, int], Device] = {}
    devices = []
    for pool in spec.pools:
        key = (pool.hardware or spec.simulation.hardware, _degree(pool))
        if key not in made:
            made[key] = _device(spec, catalog, model, block_tokens, *key)
        devices.append(made[key])
    return Scenario(spec, model, block_tokens, tuple(devices))


def _degree(pool: Pool) -> int:
    """GPUs of a worker; a fraction of one, and none, count as one device."""
    return max(1, int(pool.resources.gpus))


def _device(spec: Spec, catalog: Catalog, model: ModelShape, block_tokens: int, name: str, degree: int) -> Device:
    simulation, dtype = spec.simulation, spec.model.dtype.value
    hardware = catalog.hardware(name)
    capacity = kv_capacity_tokens(
        hardware,
        model,
        dtype,
        degree,
        simulation.memory_utilization,
        activation_tokens=spec.engine.prefill_budget_tokens,
    )
    blocks = spec.engine.kv_blocks or capacity // block_tokens
    if blocks < 1 or blocks * block_tokens > capacity:
        what = f"{spec.engine.kv_blocks} KV blocks of {block_tokens} tokens do not fit beside {model.name}"
        do = f"set engine.kvBlocks to at most {capacity // block_tokens}, or leave it out"
        raise CatalogError(what, f"hardware {name}, {degree} devices per worker", do)
    with_graphs = simulation.graphs and hardware.sms > 1
    truth = Truth(
        _latency(spec, hardware, model, degree, dtype, with_graphs),
        captured=CAPTURED_SIZES if with_graphs else (),
        mixed_penalty=simulation.mixed_penalty,
        contention=Contention(),
        noise=simulation.noise,
    )
    block_bytes = block_tokens * degree * kv_bytes_per_token(model, dtype, degree)
    link = catalog.link(simulation.link) if simulation.link else _own_link(hardware)
    return Device(hardware, degree, truth, blocks, block_bytes, link, spec.engine.max_batch)


def _latency(
    spec: Spec, hardware: Hardware, model: ModelShape, degree: int, dtype: str, with_graphs: bool
) -> LatencyModel:
    kind, linear = spec.simulation.latency, spec.simulation.linear
    if kind == LatencyKind.LINEAR:
        return Linear(
            linear.base_ms / 1e3,
            linear.per_context_token_us / 1e6,
            linear.per_prefill_token_us / 1e6,
            linear.per_request_us / 1e6,
        )
    if kind == LatencyKind.TILES:
        return Tiles(hardware, model, degree)
    if kind == LatencyKind.AUTO and hardware.in_memory is not None:
        return InMemoryLatency(hardware, model)
    return Roofline(hardware, model, degree, dtype, Graphs(CAPTURED_SIZES) if with_graphs else None)


def _own_link(hardware: Hardware) -> Link:
    rate = hardware.scale_up_bytes_per_s or hardware.scale_out_bytes_per_s
    return Link(f"{hardware.name} link", rate, TRANSFER_LATENCY_S)
