"""Simulates a cluster under a workload and reports what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.config import Cluster
from orchestrator.report.document import Run, report
from orchestrator.report.outcome import Outcome
from orchestrator.report.timeline import Timeline
from orchestrator.simulator.cluster import SimulatedCluster
from orchestrator.simulator.controller import Fault
from orchestrator.simulator.jobs import jobs
from orchestrator.simulator.measured import itl, kv, outcomes, rows, timeline
from orchestrator.simulator.scenario import Scenario, scenario
from orchestrator.workload.schedule import Planned

Progress = Callable[[int, float], None]
"""Called every `PROGRESS_EVENTS` events with the requests that are over and the simulated time in seconds."""
PROGRESS_EVENTS = 1024


@dataclass(frozen=True, slots=True)
class Options:
    """`spans` keeps every iteration for a trace. `check_every` recounts all blocks after that many events (0: never)."""

    seed: int = 0
    version: str = ""
    faults: tuple[Fault, ...] = ()
    spans: bool = False
    check_every: int = 0
    facts: Mapping[str, Any] | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The report as a document, and what it was made from."""

    document: dict[str, Any]
    outcomes: list[Outcome]
    cluster: SimulatedCluster

    @property
    def timeline(self) -> Timeline:
        """What happened over time."""
        return timeline(self.cluster)


def simulate(cluster: Cluster, planned: Iterable[Planned], options: Options = Options()) -> Result:
    """Run `planned` through the cluster until its last request is over.

    Deterministic but for `wall_s` and `cpu_s`. Raises CatalogError and TraceError.
    """
    return simulate_scenario(scenario(cluster), planned, options)


def simulate_scenario(what: Scenario, planned: Iterable[Planned], options: Options = Options()) -> Result:
    """As `simulate`, for a scenario that was looked up before: searches reuse its latency model."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    simulated = SimulatedCluster(what, options.seed, options.faults, spans=options.spans)
    door, loop = simulated.front_door, simulated.loop
    loop.push(door.open(jobs(planned, what.spec, what.block_tokens, what.max_tokens)))
    told, check_every = options.progress, options.check_every

    def is_over() -> bool:
        if check_every and loop.events % check_every == 0:
            simulated.check()
        if told is not None and loop.events % PROGRESS_EVENTS == 0:
            told(len(door.over), loop.now_s)
        return door.exhausted and not door.active

    loop.run(is_over)
    simulated.check()
    end_s = max((job.end_s or 0.0 for job in door.over), default=0.0)
    simulated.halt(end_s)
    found = outcomes(door.over)
    workers = rows(simulated, end_s)
    energy = [row["energy_j"] for row in workers]
    cost = [row["cost_usd"] for row in workers]
    run = Run(
        duration_s=end_s,
        wall_s=0.0,
        cpu_s=0.0,
        seed=options.seed,
        version=options.version,
        kv=kv(simulated),
        workers=workers,
        energy_j=None if None in energy else sum(energy),
        cost_usd=None if None in cost else sum(cost),
        decisions=simulated.decisions.as_json(),
        policies=_names(what),
        scenario=options.facts,
    )
    document = report(found, run, itl(simulated))
    document["wall_s"], document["cpu_s"] = time.monotonic() - wall_s, time.process_time() - cpu_s
    return Result(document, found, simulated)


def _names(what: Scenario) -> dict[str, str]:
    policies = what.spec.policies
    return {decision: getattr(policies, decision).name for decision in policies.__dataclass_fields__}
