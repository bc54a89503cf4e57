"""A cluster in the simulator: workers, front door, controller and network around one event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orchestrator.core.cluster import Role
from orchestrator.core.config import Pool
from orchestrator.core.config.policies import PolicyChoice
from orchestrator.policies.registry import make
from orchestrator.routing.lateness import Lateness
from orchestrator.routing.router import Report, Router
from orchestrator.simulator.clocks import Clocks
from orchestrator.simulator.controller import Controller, ControllerSettings, Fault
from orchestrator.simulator.decisions import Decisions
from orchestrator.simulator.device import Device
from orchestrator.simulator.frontdoor import FrontDoor, Limits
from orchestrator.simulator.loop import Loop
from orchestrator.simulator.meter import Meter
from orchestrator.simulator.network import Network, Transfer
from orchestrator.simulator.owner import EnginePolicies
from orchestrator.simulator.roster import Roster
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.worker import Worker


@dataclass(frozen=True, slots=True)
class Member:
    """A worker, dead or alive, with its pool and the time when it booted."""

    worker: Worker
    pool: Pool
    role: Role
    booted_s: float


class SimulatedCluster:
    """Everything of one run. The same scenario and seed make the same run."""

    def __init__(self, scenario: Scenario, seed: int, faults: tuple[Fault, ...] = (), *, spans: bool = False) -> None:
        spec = scenario.spec
        self.scenario = scenario
        self.loop = Loop()
        self.decisions = Decisions()
        self.transfers: list[tuple[str, str, float, float, float]] = []
        self.members: list[Member] = []
        self._seed = seed
        self._spans = spans
        self.network = Network(self._transferred)
        door = spec.front_door
        self.router = Router(
            _make("routing", spec.policies.routing),
            clock=lambda: self.loop.now_s,
            max_blocks=door.prefix_index_blocks,
        )
        limits = Limits(
            max_concurrent=door.max_concurrent * door.processes,
            max_queue=door.max_queue * door.processes,
            timeout_s=door.request_timeout_s,
            lease_s=spec.transport.lease_s,
            hop_s=spec.simulation.hop_ms / 1e3,
            beat_s=max(0.001, spec.simulation.heartbeat_ms / 1e3),
        )
        lateness = Lateness(self.router, door.refuse_late)
        self.front_door = FrontDoor(
            self.router,
            _make("admission", spec.policies.admission),
            Roster(self.router, lateness, _noise(spec.simulation.view_noise, seed)),
            self.network,
            limits,
            lateness,
            self.decisions,
        )
        count = sum(pool.count for pool in spec.pools)
        for pool, device in zip(spec.pools, scenario.devices, strict=True):
            for number in range(pool.count):
                worker = self._worker(pool, device, f"{pool.name}-{number}", pool.role, len(self.members) / count)
                self.front_door.join(worker, pool.role, 0.0)
        self.controller = Controller(
            self.front_door,
            self.network,
            _make("rebalancing", spec.policies.rebalancing),
            _make("scaling", spec.policies.scaling),
            ControllerSettings(spec.simulation.tick_ms / 1e3, spec.simulation.boot_s),
            self.decisions,
            self._boot,
        )
        self.loop.push(self.controller.start(faults))

    def _boot(self, role: Role, name: str | None) -> Worker:
        """A worker of the pool that `name` had, or of the first pool of that role (any pool, if there is none)."""
        pools = list(zip(self.scenario.spec.pools, self.scenario.devices, strict=True))
        former = next((member for member in self.members if member.worker.name == name), None)
        wanted = former.pool if former else None
        pool, device = next((p for p in pools if p[0] is wanted or (wanted is None and p[0].role == role)), pools[0])
        number = sum(member.pool is pool for member in self.members)
        return self._worker(pool, device, name or f"{pool.name}-{number}", role, 0.0)

    def _worker(self, pool: Pool, device: Device, name: str, role: Role, phase: float) -> Worker:
        spec = self.scenario.spec
        engine = EnginePolicies(
            _make("admission", spec.policies.admission),
            _make("multiplexing", spec.policies.multiplexing),
            _make("frequency", spec.policies.frequency),
        )
        heartbeat_s = spec.simulation.heartbeat_ms / 1e3
        draws = np.random.default_rng([self._seed, 11, len(self.members)])
        worker = Worker(
            name,
            device,
            engine,
            self.front_door,
            Meter(device, heartbeat_s, heartbeat_s * phase, spans=self._spans),
            Clocks(device.clocks_mhz, spec.simulation.clock_delay_ms / 1e3),
            block_tokens=self.scenario.block_tokens,
            prefix_cache=spec.engine.prefix_cache,
            normal=draws.standard_normal,
        )
        self.members.append(Member(worker, pool, role, self.loop.now_s))
        return worker

    def _transferred(self, transfer: Transfer, now_s: float) -> None:
        if self._spans:
            row = (transfer.source.name, transfer.target.name, transfer.start_s, now_s - transfer.start_s)
            self.transfers.append((*row, transfer.bytes))

    def halt(self, now_s: float) -> None:
        """The run is over: count what workers have done of the iterations that they are in."""
        for member in self.members:
            if member.worker.alive:
                member.worker.halt(now_s)

    def check(self) -> None:
        """Recount blocks and ledger; raises AssertionError."""
        self.router.ledger.check_integrity()
        for member in self.members:
            if member.worker.alive:
                member.worker.check()


def _make(decision: str, choice: PolicyChoice) -> Any:
    return make(decision, choice.name, dict(choice.parameters))


def _noise(relative: float, seed: int) -> Callable[[Report], Report] | None:
    """Reports whose loads are off by a factor; block counts stay within what there is."""
    if not relative:
        return None
    draw = np.random.default_rng([seed, 12])

    def noisy(report: Report) -> Report:
        factors = np.maximum(0.0, 1 + relative * draw.standard_normal(3))
        return replace(
            report,
            prefill_tokens=int(report.prefill_tokens * factors[0]),
            context_tokens=int(report.context_tokens * factors[1]),
            used_blocks=min(report.total_blocks, int(report.used_blocks * factors[2])),
        )

    return noisy
