"""A device as the catalog describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What is reached of the peaks, and the shape in which it grows with the share of SMs and the size of a GEMM.

    `saturation_share` of the SMs reach the whole memory bandwidth. A GEMM of `half_speed_tokens` rows on all SMs reaches half
    of `compute` (0: any size reaches it). Compute grows with the share up to `knee_share`, from there on at `beyond_knee` of that
    slope, and all SMs reach `compute`. Sources: DuetServe §3, BestServe §3.2, Nexus §3 for the knee.
    """

    compute: float = 0.75
    memory: float = 0.85
    link: float = 0.6
    saturation_share: float = 0.5
    half_speed_tokens: float = 0.0
    knee_share: float = 1.0
    beyond_knee: float = 1.0


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The host's share: seconds to issue one operator, to launch a captured graph, to start a collective, and per iteration.

    `kernel_s` is the device's: what every operator takes besides its work, also in a captured graph.
    """

    operator_s: float = 6e-6
    graph_launch_s: float = 15e-6
    collective_s: float = 8e-6
    iteration_s: float = 0.0
    kernel_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Power:
    """Watts at the highest clock, and how they fall with it. Source: VoltanaLLM §3.2.

    Below `knee_mhz` the voltage stays at `lowest_voltage` of the highest, and memory bandwidth falls with the clock. `decode_w` is
    for a full batch, `decode_least_w` for the smallest (None: `idle_w`).
    """

    idle_w: float
    prefill_w: float
    decode_w: float
    knee_mhz: float
    lowest_voltage: float = 0.8
    decode_least_w: float | None = None


@dataclass(frozen=True, slots=True)
class Chip:
    """Geometry of a tiled accelerator, for models that look inside. Source: SPAD §3.1."""

    cores: int
    lanes: int
    array_rows: int
    array_columns: int
    vector_width: int
    l1_kib: int
    l2_mib: int
    memory_kind: str
    memory_packages: int
    bus_bits: int
    pin_gbps: float
    tensor_ghz: float = 1.83
    vector_ghz: float = 1.98


@dataclass(frozen=True, slots=True)
class InMemory:
    """Engines of a memory-centric accelerator: compute in DRAM, compute in SRAM arrays, vector units. Source: HALO §2."""

    dram_bytes_per_s: float
    dram_flops: float
    dram_overhead_s: float
    array_flops: float
    array_utilization: float
    array_utilization_dynamic: float
    array_load_bytes_per_s: float
    array_overhead_s: float
    vector_elements_per_s: float


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device. Rates are dense peaks; `compute_flops` maps a dtype (float32, bfloat16, float16, float8, int8, float4) to FLOP/s.

    Link rates are per device and direction: `scale_up` within a node, `scale_out` between nodes. None means unknown: what needs
    the figure says so instead of guessing. `clocks_mhz` ascend; a device whose clock cannot be set has one, or none.
    """

    name: str
    compute_flops: Mapping[str, float]
    memory_bytes: float
    memory_bytes_per_s: float
    sms: int
    scale_up_bytes_per_s: float
    scale_out_bytes_per_s: float
    clocks_mhz: tuple[int, ...] = ()
    sm_granularity: int = 1
    tdp_w: float | None = None
    price_usd: float | None = None
    rent_usd_per_hour: float | None = None
    die_mm2: float | None = None
    usable_memory: float = 0.9
    efficiency: Efficiency = field(default_factory=Efficiency)
    dispatch: Dispatch = field(default_factory=Dispatch)
    power: Power | None = None
    chip: Chip | None = None
    in_memory: InMemory | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
