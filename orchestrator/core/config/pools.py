"""Sections about workers and service levels: `pools`, `tiers`."""

# ruff: noqa: RUF009 (setting() returns a dataclass field)
from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.cluster import Role
from orchestrator.core.config.serving import EngineKind
from orchestrator.core.config.settings import NAME, NAME_HELP, setting

DEFAULT_TIER = "default"


@dataclass(frozen=True, slots=True)
class Resources:
    """What Ray sets aside for each worker of a pool."""

    cpus: float = setting("CPU cores per worker; may be a fraction", 1.0, minimum=0, maximum=1024)
    gpus: float = setting("GPUs per worker; a fraction shares one GPU", 0.0, minimum=0, maximum=16)
    memory_bytes: int | None = setting(
        "memory per worker, such as 2Gi or 512Mi; none is set aside if absent", None, minimum=1, quantity=True
    )


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers that are alike. Their role may change while the cluster runs; this is the role they start with."""

    name: str = setting("unique name", pattern=NAME, pattern_help=NAME_HELP)
    role: Role = setting("prefill, decode or both")
    count: int = setting("number of workers", 1, minimum=0, maximum=4096)
    hardware: str | None = setting("entry of the hardware catalog, for simulation and planning", None)
    resources: Resources = setting("what each worker takes", factory=Resources)
    usd_per_hour: float | None = setting(
        "price of one worker's hour, for simulation; what its dies and memory cost over four years if absent",
        None,
        minimum=0,
    )
    model: str | None = setting("which of the served models, by its name; spec.model if absent", None)
    engine: EngineKind | None = setting("engine of these workers; spec.engine.kind if absent", None)
    servers: str | None = setting(
        "URLs of vLLM servers that run already, one for each worker, separated by blanks; workers start their own if absent",
        None,
    )


@dataclass(frozen=True, slots=True)
class Tier:
    """A service level. A request meets it if its TTFT and its mean TPOT stay within both bounds."""

    name: str = setting("unique name, chosen by clients per request", pattern=NAME, pattern_help=NAME_HELP)
    ttft_ms: float = setting("time to first token in milliseconds", minimum=0.001)
    tpot_ms: float = setting("time per output token after the first in milliseconds", minimum=0.001)


def default_pools() -> tuple[Pool, ...]:
    """One prefill and two decode workers."""
    return (Pool("prefill", Role.PREFILL, 1), Pool("decode", Role.DECODE, 2))


def default_tiers() -> tuple[Tier, ...]:
    """One tier that a laptop meets."""
    return (Tier(DEFAULT_TIER, 2000.0, 200.0),)
