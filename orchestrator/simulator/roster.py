"""The workers that a simulated front door knows, and what it has heard of them."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.core.cluster import Role
from orchestrator.routing.lateness import Lateness
from orchestrator.routing.router import Report, Router
from orchestrator.simulator.worker import Worker


class Roster:
    """Tells router and lateness what workers report at their heartbeats, through `noise` if there is any."""

    def __init__(self, router: Router, lateness: Lateness, noise: Callable[[Report], Report] | None) -> None:
        self.workers: dict[str, Worker] = {}
        self._router = router
        self._lateness = lateness
        self._noise = noise
        self._heard: dict[str, Report] = {}

    def join(self, worker: Worker, role: Role, now_s: float) -> None:
        """A worker has booted: it takes requests, and reports at once."""
        self.workers[worker.name] = worker
        self._router.forget_cache(worker.name)
        self._router.set_worker(worker.name, role, True)
        worker.meter.boot(worker, now_s)
        self._router.report(worker.name, worker.meter.status, now_s)
        self._lateness.heard(worker.name, worker.meter.status, now_s)

    def lose(self, worker: Worker) -> None:
        """A worker has died: nothing goes there."""
        self._router.forget_cache(worker.name)
        self._lateness.gone(worker.name)
        self._router.set_accepts(worker.name, False)

    def hear(self, now_s: float) -> None:
        """Take in the last heartbeat of every worker."""
        for worker in self.workers.values():
            if now_s >= worker.meter.due_s or not worker.meter.told:
                self.hear_of(worker, now_s)

    def hear_of(self, worker: Worker, now_s: float) -> None:
        """Take in the last heartbeat of one. To be called before the ledger of that worker changes: what a live worker pushes is
        compared with the ledger of that moment, and what was settled since would look like load of other front doors.
        """
        name, meter = worker.name, worker.meter
        if not worker.alive:
            return
        if now_s >= meter.due_s:
            meter.observe(worker, now_s)
        if meter.told:
            return
        meter.told = True
        while meter.earlier:
            earlier_s, report = meter.earlier.popleft()
            self._lateness.heard(name, report, earlier_s)
        self._lateness.heard(name, meter.status, meter.status_s)
        if meter.status is self._heard.get(name):
            self._router.unchanged(name, meter.status_s)
            return
        self._heard[name] = status = meter.status
        self._router.report(name, status if self._noise is None else self._noise(status), meter.status_s)
