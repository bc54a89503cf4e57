"""The controller in the simulator: asks the tick policies, moves requests, changes roles, boots and drains workers, lets workers die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from orchestrator.core.cluster import Role
from orchestrator.policies.rebalancing.base import Move, RebalancingPolicy
from orchestrator.policies.rebalancing.none import NoRebalancing
from orchestrator.policies.scaling.base import Resize, RoleChange, ScalingPolicy
from orchestrator.policies.scaling.static import Static
from orchestrator.simulator.decisions import Decisions
from orchestrator.simulator.frontdoor import FrontDoor
from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.migration import Migration
from orchestrator.simulator.network import Network
from orchestrator.simulator.worker import Worker


@dataclass(frozen=True, slots=True)
class Fault:
    """`worker` dies at `at_s`; another of its name boots after `restart_s`, or none if that is None."""

    worker: str
    at_s: float
    restart_s: float | None = None


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Ticks, and how long a worker takes to boot."""

    tick_s: float
    boot_s: float


class Controller:
    """Never on a request's path. `make_worker(role, name)` gives a worker like those of the first pool of that role."""

    def __init__(
        self,
        front_door: FrontDoor,
        network: Network,
        rebalancing: RebalancingPolicy,
        scaling: ScalingPolicy,
        settings: ControllerSettings,
        decisions: Decisions,
        make_worker: Callable[[Role, str | None], Worker],
    ) -> None:
        self.migrations: list[Migration] = []
        self._front_door = front_door
        self._router = front_door.router
        self._network = network
        self._rebalancing = rebalancing
        self._scaling = scaling
        self._settings = settings
        self._decisions = decisions
        self._make_worker = make_worker
        self._draining: dict[Worker, None] = {}
        self._booting: dict[Role, int] = {}

    def start(self, faults: tuple[Fault, ...]) -> Events:
        """First tick, unless no policy would ever decide anything, and every death to come."""
        events: list[tuple[float, Action]] = [(fault.at_s, partial(self._die, fault)) for fault in faults]
        if not (isinstance(self._rebalancing, NoRebalancing) and isinstance(self._scaling, Static)):
            events.append((self._settings.tick_s, self._tick))
        return events

    def _tick(self, now_s: float) -> Events:
        self._front_door.roster.hear(now_s)
        self._router.stamp()
        events: list[tuple[float, Action]] = [(now_s + self._settings.tick_s, self._tick)]
        for move in self._rebalancing.decide(self._router.view):
            self._decisions.count("rebalancing", move.reason)
            events += self._move(move, now_s)
        for change in self._scaling.decide(self._router.view):
            self._decisions.count("scaling", change.reason)
            match change:
                case RoleChange():
                    events += self._change_role(change, now_s)
                case Resize():
                    events += self._resize(change, now_s)
        for worker in [worker for worker in self._draining if worker.is_idle]:
            del self._draining[worker]
            if worker.alive:
                worker.alive = False
                worker.meter.died_s, worker.meter.drained = now_s, True
        return events

    def _move(self, move: Move, now_s: float) -> Events:
        names = self._router.view.names
        target = self._front_door.roster.workers[names[move.target]]
        job = self._front_door.find(move.request_id)
        if job is None or not Migration.possible(job, target):
            return NOTHING
        migration = Migration(job, target, self._router, self._front_door.roster, self._network)
        self.migrations.append(migration)
        return migration.start(now_s)

    def _change_role(self, change: RoleChange, now_s: float) -> Events:
        """Takes effect for what is placed from here on; what runs stays."""
        name = self._router.view.names[change.worker]
        self._router.set_worker(name, change.role, bool(self._router.view.accepts[change.worker]))
        return self._front_door.pump(now_s)

    def _resize(self, change: Resize, now_s: float) -> Events:
        view = self._router.view
        rows = [int(row) for row in view.eligible(change.role) if view.role[row] == change.role]
        missing = change.count - len(rows) - self._booting.get(change.role, 0)
        for row in rows[change.count :] if missing < 0 else []:
            worker = self._front_door.roster.workers[view.names[row]]
            self._router.set_accepts(worker.name, False)
            self._draining[worker] = None
        boots = max(0, missing)
        self._booting[change.role] = self._booting.get(change.role, 0) + boots
        return [(now_s + self._settings.boot_s, partial(self._boot, change.role, None)) for _ in range(boots)]

    def _boot(self, role: Role, name: str | None, now_s: float) -> Events:
        if name is None:
            self._booting[role] -= 1
        return self._front_door.join(self._make_worker(role, name), role, now_s)

    def _die(self, fault: Fault, now_s: float) -> Events:
        worker = self._front_door.roster.workers.get(fault.worker)
        if worker is None or not worker.alive:
            return NOTHING
        role = Role(int(self._router.view.role[self._router.row(fault.worker)]))
        worker.meter.died_s = now_s
        events = list(self._front_door.lost(worker, now_s))
        if fault.restart_s is not None:
            events.append((now_s + fault.restart_s, partial(self._boot, role, fault.worker)))
        return events
