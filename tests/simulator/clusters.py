"""Clusters and workloads whose behaviour textbooks know, and what to measure of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.core.cluster import Role
from orchestrator.core.config import Cluster, Pool, Spec
from orchestrator.core.config.policies import Policies, PolicyChoice
from orchestrator.core.config.pools import Resources, Tier
from orchestrator.core.config.services import FrontDoor
from orchestrator.core.config.serving import DType, Engine, Model
from orchestrator.core.config.simulation import Simulation
from orchestrator.report.outcome import Outcome
from orchestrator.simulator.run import Options, Result, simulate
from orchestrator.workload.schedule import Planned

Floats = npt.NDArray[np.float64]

# No hop, no staleness, no change of clock that takes time: what the closed forms assume.
IDEAL = {"hop_ms": 0.0, "heartbeat_ms": 0.0, "clock_delay_ms": 0.0}


def pool(role: str, count: int, hardware: str | None = None, gpus: int = 1) -> Pool:
    """`role` is prefill, decode or both."""
    return Pool(role, Role[role.upper()], count, hardware, Resources(gpus=gpus))


def cluster(
    *pools: Pool,
    budget: int = 8192,
    routing: str = "least_load",
    engine: Mapping[str, Any] | None = None,
    simulation: Mapping[str, Any] | None = None,
    tier: Tier | None = None,
) -> Cluster:
    """Llama-3.1-8B on H100 where `simulation` does not say otherwise; `budget` is the chunk budget. Queues have no bounds."""
    spec = Spec(
        model=Model(dtype=DType.BFLOAT16),
        engine=Engine(**{"max_batch": 256, "prefill_budget_tokens": 2048, "prefix_cache": False, **(engine or {})}),
        pools=pools,
        tiers=(tier or Tier("default", 1e6, 1e6),),
        policies=Policies(
            routing=PolicyChoice(routing), multiplexing=PolicyChoice("chunked", {"budget_tokens": budget})
        ),
        front_door=FrontDoor(max_concurrent=1_000_000, max_queue=1_000_000, refuse_late=False, request_timeout_s=86400),
        simulation=Simulation(**{"model": "llama-3.1-8b", "hardware": "h100", **IDEAL, **(simulation or {})}),
    )
    return replace(Cluster(), spec=spec)


def poisson(rate: float, count: int, tokens_in: int, tokens_out: int, seed: int = 1) -> list[Planned]:
    """Requests of one size; the same draw at every rate, so that rates differ in nothing else."""
    at_s = np.cumsum(np.random.default_rng(seed).exponential(1.0, count)) / rate
    return [Planned(i, float(t), tokens_in, tokens_out) for i, t in enumerate(at_s)]


def at_once(count: int, tokens_in: int, tokens_out: int) -> list[Planned]:
    return [Planned(i, 0.0, tokens_in, tokens_out) for i in range(count)]


def run(cluster: Cluster, planned: Sequence[Planned], **options: Any) -> Result:
    """Simulate, and see that every request was served."""
    result = simulate(cluster, planned, Options(**options))
    left = [o.error for o in result.outcomes if o.ttft_s is None]
    assert not left and len(result.outcomes) == len(planned), f"{len(left)} requests failed: {left[:1]}"
    return result


def completed_per_s(outcomes: Sequence[Outcome]) -> float:
    """Slope of completions over time, from the end of the first quarter of them to that of the third.

    Least squares: requests of one size end in waves, and where a wave is cut must not matter.
    """
    ends = np.sort([o.end_s for o in outcomes])
    middle = ends[len(ends) // 4 : 3 * len(ends) // 4 + 1]
    return float(np.polyfit(middle, np.arange(len(middle)), 1)[0])


def ttft_s(outcomes: Sequence[Outcome]) -> Floats:
    return np.array([o.ttft_s for o in outcomes], np.float64)
