"""Section `simulation`: what `pdctl simulate` needs to know beyond what the live cluster does."""

# ruff: noqa: RUF009 (setting() returns a dataclass field)
from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.config.settings import setting


class LatencyKind(StrEnum):
    """How long a simulated iteration takes. `AUTO` is what the hardware's catalog entry allows."""

    AUTO = "auto"
    ROOFLINE = "roofline"
    TILES = "tiles"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class LinearLatency:
    """An iteration takes base + context · KV tokens + prefill · prompt tokens + request · requests."""

    base_ms: float = setting("milliseconds of any iteration", 12.0, minimum=0)
    per_context_token_us: float = setting("microseconds per KV token of the batch", 0.43, minimum=0)
    per_prefill_token_us: float = setting("microseconds per prompt token computed", 0.0, minimum=0)
    per_request_us: float = setting("microseconds per request of the batch", 0.0, minimum=0)


@dataclass(frozen=True, slots=True)
class Simulation:
    """What stands in for the real thing. The live cluster does not read this section."""

    model: str | None = setting("catalog entry, or path of a config.json; spec.model if absent", None)
    hardware: str = setting("catalog entry for pools that name no hardware", "cpu-core")
    link: str | None = setting("catalog entry of the link that KV moves over; the hardware's own if absent", None)
    catalog: str | None = setting("TOML file with hardware, models and links of your own", None)
    latency: LatencyKind = setting("auto, roofline, tiles (SPAD chips) or linear", LatencyKind.AUTO)
    linear: LinearLatency = setting("coefficients for latency: linear", factory=LinearLatency)
    graphs: bool = setting("decode runs in captured graphs, padded to their batch sizes, on devices with SMs", True)
    mixed_penalty: float = setting(
        "an iteration with prompts and decodes takes this many times what it should", 1.0, minimum=1, maximum=10
    )
    noise: float = setting("relative standard deviation of an iteration's time", 0.0, minimum=0, maximum=1)
    view_noise: float = setting("relative standard deviation of what workers report", 0.0, minimum=0, maximum=1)
    heartbeat_ms: float = setting("time between two reports of a worker; 0: always fresh", 50.0, minimum=0)
    hop_ms: float = setting("time from a client to its worker's queue", 1.0, minimum=0)
    tick_ms: float = setting("time between two ticks of the controller", 250.0, minimum=1)
    boot_s: float = setting("time until an added worker accepts requests", 30.0, minimum=0)
    clock_delay_ms: float = setting("time until a change of clock takes effect", 10.0, minimum=0)
    memory_utilization: float | None = setting(
        "share of a device's memory for weights, activations and KV; the catalog's if absent",
        None,
        minimum=0.01,
        maximum=1,
    )
