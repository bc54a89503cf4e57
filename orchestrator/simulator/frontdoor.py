"""The front door in the simulator: arrivals, queue, admission, time-outs, and the next attempt when a worker is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestState, advance
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.routing.lateness import Lateness
from orchestrator.routing.router import Router
from orchestrator.simulator.attempts import Attempts
from orchestrator.simulator.decisions import Decisions
from orchestrator.simulator.job import Job
from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.network import Network
from orchestrator.simulator.roster import Roster
from orchestrator.simulator.samples import Samples
from orchestrator.simulator.worker import Worker

ATTEMPTS = 16
"""A request that failed on this many workers fails for good."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a front door.

    `hop_s` is what it takes a request to get through it to a worker; `beat_s` is how often what waits is tried again.
    """

    max_concurrent: int
    max_queue: int
    timeout_s: float
    lease_s: float
    hop_s: float
    beat_s: float


class FrontDoor:
    """Decides with the live router and its policy, and hears from the workers (see `Owner`)."""

    def __init__(
        self,
        router: Router,
        admission: AdmissionPolicy,
        roster: Roster,
        network: Network,
        limits: Limits,
        lateness: Lateness,
        decisions: Decisions,
    ) -> None:
        self.router = router
        self.admission = admission
        self.roster = roster
        self.active: dict[Job, None] = {}
        self.over: list[Job] = []
        self.samples = Samples()
        self.exhausted = False
        self._limits = limits
        self._decisions = decisions
        self._queue: deque[Job] = deque()
        self._timeouts: deque[Job] = deque()
        self._retrying = False
        self._lateness = lateness
        self._attempts = Attempts(router, roster, network, decisions, limits.lease_s, self.retry)

    @property
    def lease_expiries(self) -> int:
        """Leases that nobody pulled in time."""
        return self._attempts.lease_expiries

    # Arrivals

    def open(self, jobs: Iterator[Job]) -> Events:
        """Take in these requests, which come in order of time."""
        return self._next(jobs)

    def _next(self, jobs: Iterator[Job]) -> Events:
        job = next(jobs, None)
        if job is None:
            self.exhausted = True
            return NOTHING
        return ((job.due_s + self._limits.hop_s, partial(self._arrive, job, jobs)),)

    def _arrive(self, job: Job, jobs: Iterator[Job], now_s: float) -> Events:
        following = self._next(jobs)
        if self._lateness.refuses:
            self.roster.hear(now_s)
        view = job.view
        late = self._lateness.check(view.prompt_tokens, view.ttft_slo_s, view.tpot_slo_s, len(self._queue), now_s)
        if late is not None:
            self._refuse(job, f"429: {late.why(view.tier)}", now_s)
            return following
        if len(self._queue) >= self._limits.max_queue:
            self._refuse(job, "429: the queue is full", now_s)
            return following
        self._lateness.arrived(view)
        self.active[job] = None
        self._queue.append(job)
        events = [*following, *self.pump(now_s)]
        if not self._timeouts:
            events.append((now_s + self._limits.timeout_s, self._time_out))
        self._timeouts.append(job)
        return events

    def _refuse(self, job: Job, why: str, now_s: float) -> None:
        job.error = why
        job.state = advance(job.state, RequestState.FAILED)
        job.end_s = now_s
        self.over.append(job)

    def _time_out(self, now_s: float) -> Events:
        """Requests time out in the order in which they came, so one event serves all."""
        events = list[tuple[float, Action]]()
        timeouts, timeout_s = self._timeouts, self._limits.timeout_s
        while timeouts and (timeouts[0] not in self.active or timeouts[0].view.arrival_s + timeout_s <= now_s):
            job = timeouts.popleft()
            if job in self.active:
                events += self._attempts.leave(job, now_s)
                job.error = f"no end after {timeout_s:g} s"
                self._over(job, RequestState.FAILED, now_s)
        if timeouts:
            events.append((timeouts[0].view.arrival_s + timeout_s, self._time_out))
        return [*events, *self.pump(now_s)]

    # Decisions

    def pump(self, now_s: float) -> Events:
        """Start what the admission policy lets in, in its order, until a request finds no worker."""
        events = self._pump(now_s) if self._queue or self._attempts.undecided else NOTHING
        if now_s >= self.samples.due_s:
            self.samples.add(now_s, len(self._queue), 0, 0.0)
        return events

    def _pump(self, now_s: float) -> Events:
        self.roster.hear(now_s)
        events = self._attempts.place_again(now_s)
        if self._queue:
            events += self._admit(now_s)
        if (self._queue or self._attempts.undecided) and not self._retrying:
            self._retrying = True
            events.append((now_s + self._limits.beat_s, self._try_again))
        return events

    def _try_again(self, now_s: float) -> Events:
        self._retrying = False
        return self.pump(now_s)

    def _admit(self, now_s: float) -> Events:
        view = self.router.view
        free_blocks = view.open_blocks()
        running = len(self.active) - len(self._queue)
        waiting = list(self._queue)
        decision = self.admission.admit(
            [job.view for job in waiting], running, free_blocks, self.router.block_tokens(), self._limits.max_concurrent
        )
        self._decisions.count("admission", decision.reason)
        events = list[tuple[float, Action]]()
        for position in decision.admit:
            started = self._attempts.start(waiting[position], now_s)
            if started is None:
                break
            self._queue.remove(waiting[position])
            events += started
        return events

    def join(self, worker: Worker, role: Role, now_s: float) -> Events:
        """A worker has booted: it takes requests."""
        self.roster.join(worker, role, now_s)
        return self.pump(now_s)

    def find(self, request_id: str) -> Job | None:
        """The active request of that id."""
        return next((job for job in self.active if job.view.request_id == request_id), None)

    # What workers tell

    def prefilled(self, job: Job, worker: Worker, now_s: float) -> Events:
        """See Owner."""
        if job.emitted:
            worker.meter.steps.pause(job.view.tier, now_s - job.last_token_s)
        if job.first_token_s is None:
            self._lateness.served(job.view, now_s)
        job.emit(1, now_s)
        if job.emitted == job.output_tokens:
            return [*worker.release(job, now_s), *self.finished(job, worker, now_s)]
        if job.decode is worker:
            if job.state is RequestState.PREFILLING:
                self.roster.hear_of(worker, now_s)
                self.router.settle(job.view.request_id, Role.PREFILL)
                job.state = advance(job.state, RequestState.DECODING)
                job.prefill = None
            return worker.keep(job, now_s)
        return self._attempts.leased(job, now_s)

    def preempted(self, job: Job, now_s: float) -> Events:
        """See Owner."""
        return job.migration.abort(now_s) if job.migration is not None else NOTHING

    def finished(self, job: Job, worker: Worker, now_s: float) -> Events:
        """See Owner."""
        events = self._attempts.leave(job, now_s, worker)
        self._over(job, RequestState.FINISHED, now_s)
        return [*events, *self.pump(now_s)]

    def cache_changed(self, worker: Worker, stored: list[int], removed: list[int]) -> None:
        """See Owner."""
        self.router.cache_events(worker.name, stored, removed)

    # Ends

    def lost(self, worker: Worker, now_s: float) -> Events:
        """A worker has died: its requests go elsewhere."""
        self.roster.lose(worker)
        events = list[tuple[float, Action]]()
        worker.kill(now_s)
        for migration in [job.migration for job in self.active if job.migration is not None]:
            if migration.target is worker:
                events += migration.abort(now_s)
        # Each goes to the head of the queue, so the oldest goes last.
        for job in reversed([job for job in self.active if worker in (job.prefill, job.decode)]):
            events += self.retry(job, now_s, pump=False)
        return [*events, *self.pump(now_s)]

    def retry(self, job: Job, now_s: float, pump: bool = True) -> Events:
        """Give up this attempt and queue the next one, first in line, from prompt and emitted tokens."""
        events = self._attempts.leave(job, now_s)
        if job.attempt >= ATTEMPTS:
            job.error = f"given up after {ATTEMPTS} attempts"
            self._over(job, RequestState.FAILED, now_s)
            return events
        job.state = advance(job.state, RequestState.QUEUED)
        job.attempt += 1
        self._queue.appendleft(job)
        return [*events, *(self.pump(now_s) if pump else NOTHING)]

    def _over(self, job: Job, state: RequestState, now_s: float) -> None:
        job.state = advance(job.state, state)
        job.end_s = now_s
        if job.first_token_s is None:
            self._lateness.left(job.view)
        elif state is RequestState.FINISHED:
            self._lateness.answered(job.view, job.first_token_s, now_s, job.emitted)
        self.active.pop(job, None)
        if state is RequestState.FAILED and job in self._queue:
            self._queue.remove(job)
        self.over.append(job)
