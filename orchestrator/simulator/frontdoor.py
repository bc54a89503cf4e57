"""The front door in the simulator: queue, admission, routing, handoff, and the next attempt when a worker is lost."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from orchestrator.core.cluster import Role
from orchestrator.core.decisions import Placement
from orchestrator.core.request import RequestState, advance
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.routing.router import Report, Router
from orchestrator.simulator.decisions import Decisions
from orchestrator.simulator.job import Job
from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.network import Network
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
    """Decides with the live router and its policy, and hears from the workers (see `worker.Owner`)."""

    def __init__(
        self,
        router: Router,
        admission: AdmissionPolicy,
        workers: dict[str, Worker],
        network: Network,
        limits: Limits,
        decisions: Decisions,
        noise: Callable[[Report], Report] | None = None,
    ) -> None:
        self.router = router
        self.admission = admission
        self.workers = workers
        self.active: dict[Job, None] = {}
        self.over: list[Job] = []
        self.submitted = self.lease_expiries = 0
        self.exhausted = False
        self._network = network
        self._limits = limits
        self._decisions = decisions
        self._noise = noise
        self._queue: deque[Job] = deque()
        self._undecided: dict[Job, None] = {}
        self._timeouts: deque[Job] = deque()
        self._pushed: dict[str, int] = {}
        self._heard: dict[str, Report] = {}
        self._retrying = False

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
        self.submitted += 1
        following = self._next(jobs)
        if len(self._queue) >= self._limits.max_queue:
            job.error = "429: the queue is full"
            self._over(job, RequestState.FAILED, now_s)
            return following
        self.active[job] = None
        self._queue.append(job)
        events = [*following, *self.pump(now_s)]
        if not self._timeouts:
            events.append((now_s + self._limits.timeout_s, self._time_out))
        self._timeouts.append(job)
        return events

    def _time_out(self, now_s: float) -> Events:
        """Requests time out in the order in which they came, so one event serves all."""
        events = list[tuple[float, Action]]()
        timeouts, timeout_s = self._timeouts, self._limits.timeout_s
        while timeouts and (timeouts[0] not in self.active or timeouts[0].view.arrival_s + timeout_s <= now_s):
            job = timeouts.popleft()
            if job in self.active:
                events += self._leave(job, now_s)
                job.error = f"no end after {timeout_s:g} s"
                self._over(job, RequestState.FAILED, now_s)
        if timeouts:
            events.append((timeouts[0].view.arrival_s + timeout_s, self._time_out))
        return [*events, *self.pump(now_s)]

    # Decisions

    def pump(self, now_s: float) -> Events:
        """Start what the admission policy lets in, in its order, until a request finds no worker."""
        if not self._queue and not self._undecided:
            return NOTHING
        self.hear(now_s)
        events = self._place_all_again(now_s)
        if self._queue:
            events += self._admit(now_s)
        if (self._queue or self._undecided) and not self._retrying:
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
            started = self._start(waiting[position], now_s)
            if started is None:
                break
            self._queue.remove(waiting[position])
            events += started
        return events

    def _start(self, job: Job, now_s: float) -> Events | None:
        """Place and dispatch; None if no worker can take it now."""
        prefill = self.router.place_prefill(job.view)
        self._decisions.placed("prefill", prefill)
        if prefill.worker is None:
            return None
        decode = prefill
        if not prefill.co_locate:
            decode = self.router.place_decode(job.view, prefill.worker)
            self._decisions.placed("decode", decode)
        if decode.worker is None:
            return None
        together = decode.co_locate or decode.worker == prefill.worker
        names = self.router.view.names
        job.state = advance(job.state, RequestState.PREFILLING)
        job.prefill = self.workers[names[decode.worker if together else prefill.worker]]
        self.router.account(job.view, job.prefill.name, Role.PREFILL)
        events = list[tuple[float, Action]]()
        if together:
            job.decode = job.prefill
            self.router.account(job.view, job.decode.name, Role.DECODE)
        else:
            events += self._reserve(job, decode, now_s)
        job.prefill.meter.requests += 1
        return [*events, *job.prefill.enqueue(job, now_s)]

    def _reserve(self, job: Job, placement: Placement, now_s: float) -> Events:
        """Have the decode worker set blocks aside; one that cannot leaves the request undecided."""
        assert placement.worker is not None
        worker = self.workers[self.router.view.names[placement.worker]]
        events = worker.reserve(job, job.context_tokens - job.leased, now_s)
        if events is None:
            self._undecided[job] = None
            return NOTHING
        job.decode, job.reserved = worker, True
        self.router.account(job.view, worker.name, Role.DECODE)
        self._undecided.pop(job, None)
        return events

    def _place_all_again(self, now_s: float) -> list[tuple[float, Action]]:
        """Decode workers for those that lack one, by age. Where a prompt found none, a longer one is not tried, and nobody is once
        there were as many refusals as there are workers: asking for all would cost a pump of an overloaded cluster milliseconds.
        """
        events = list[tuple[float, Action]]()
        too_long, refusals = math.inf, 0
        for job in list(self._undecided):
            if job.view.prompt_tokens >= too_long:
                continue
            again = self._place_again(job, now_s)
            if again is None:
                too_long = job.view.prompt_tokens
                continue
            events += again
            refusals += job in self._undecided
            if refusals >= len(self.workers):
                break
        return events

    def _place_again(self, job: Job, now_s: float) -> Events | None:
        """None if no worker has room; a worker that turns out to have none leaves the request undecided."""
        assert job.prefill is not None
        placement = self.router.place_decode(job.view, self.router.row(job.prefill.name))
        self._decisions.placed("decode", placement)
        if placement.worker is None:
            return None
        if placement.co_locate or self.router.view.names[placement.worker] == job.prefill.name:
            return self.retry(job, now_s, pump=False)
        return [*self._reserve(job, placement, now_s), *self._hand_off(job, now_s)]

    def hear(self, now_s: float) -> None:
        """Take in the last heartbeat of every worker."""
        for name, worker in self.workers.items():
            if worker.alive:
                meter = worker.meter
                if now_s >= meter.due_s:
                    meter.observe(worker, now_s)
                if self._pushed[name] != meter.beat:
                    self._pushed[name] = meter.beat
                    if meter.status is self._heard.get(name):
                        self.router.unchanged(name)
                        continue
                    self._heard[name] = status = meter.status
                    self.router.report(name, status if self._noise is None else self._noise(status))

    def join(self, worker: Worker, role: Role, now_s: float) -> Events:
        """A worker has booted: it takes requests."""
        self.workers[worker.name] = worker
        self.router.forget_cache(worker.name)
        self.router.set_worker(worker.name, role, True)
        worker.meter.boot(worker, now_s)
        self._pushed[worker.name] = worker.meter.beat
        self.router.report(worker.name, worker.meter.status)
        return self.pump(now_s)

    def find(self, request_id: str) -> Job | None:
        """The active request of that id."""
        return next((job for job in self.active if job.view.request_id == request_id), None)

    # What workers tell

    def prefilled(self, job: Job, worker: Worker, now_s: float) -> Events:
        """See Owner."""
        if job.emitted:
            worker.meter.steps.pause(job.view.tier, now_s - job.last_token_s)
        job.emit(1, now_s)
        if job.emitted == job.output_tokens:
            return [*worker.release(job, now_s), *self.finished(job, worker, now_s)]
        if job.decode is worker:
            if job.state is RequestState.PREFILLING:
                self.router.settle(job.view.request_id, Role.PREFILL)
                job.state = advance(job.state, RequestState.DECODING)
                job.prefill = None
            return worker.keep(job, now_s)
        job.leased = True
        job.state = advance(job.state, RequestState.TRANSFERRING)
        if job.reserved:
            return self._hand_off(job, now_s)
        return ((now_s + self._limits.lease_s, partial(self._expire, job, job.attempt)),)

    def preempted(self, job: Job, now_s: float) -> Events:
        """See Owner."""
        return job.migration.abort(now_s) if job.migration is not None else NOTHING

    def finished(self, job: Job, worker: Worker, now_s: float) -> Events:
        """See Owner."""
        events = self._leave(job, now_s, worker)
        self._over(job, RequestState.FINISHED, now_s)
        return [*events, *self.pump(now_s)]

    def cache_changed(self, worker: Worker, stored: list[int], removed: list[int]) -> None:
        """See Owner."""
        self.router.cache_events(worker.name, stored, removed)

    # Handoff

    def _hand_off(self, job: Job, now_s: float) -> Events:
        """Both sides are ready: let the decode worker pull."""
        if not job.reserved or not job.leased or job.attached:
            return NOTHING
        assert job.prefill is not None and job.decode is not None
        job.attached = True
        blocks = job.prefill.leases[job].blocks
        size = blocks * job.prefill.device.block_bytes
        arrived = partial(self._pulled, job, job.attempt)
        job.transfer, events = self._network.send(job.prefill, job.decode, size, arrived, now_s)
        return events

    def _pulled(self, job: Job, attempt: int, now_s: float) -> Events:
        assert job.attempt == attempt and job.prefill is not None and job.decode is not None
        source, job.prefill, job.leased, job.transfer = job.prefill, None, False, None
        self.router.settle(job.view.request_id, Role.PREFILL)
        job.state = advance(job.state, RequestState.DECODING)
        job.reserved = False
        job.decode.meter.requests += 1
        return [*source.release(job, now_s), *job.decode.attach(job, now_s)]

    def _expire(self, job: Job, attempt: int, now_s: float) -> Events:
        """Nobody has begun to pull within the lease, which can only happen where no decode worker had room in time."""
        if job.attempt != attempt or not job.leased or job.attached:
            return NOTHING
        self.lease_expiries += 1
        return self.retry(job, now_s)

    # Ends

    def lost(self, worker: Worker, now_s: float) -> Events:
        """A worker has died: its requests go elsewhere."""
        self.router.forget_cache(worker.name)
        self.router.set_accepts(worker.name, False)
        events = list[tuple[float, Action]]()
        worker.kill(now_s)
        for migration in [job.migration for job in self.active if job.migration is not None]:
            if migration.target is worker:
                events += migration.abort(now_s)
        for job in [job for job in self.active if worker in (job.prefill, job.decode)]:
            events += self.retry(job, now_s, pump=False)
        return [*events, *self.pump(now_s)]

    def retry(self, job: Job, now_s: float, pump: bool = True) -> Events:
        """Give up this attempt and queue the next one, first in line, from prompt and emitted tokens."""
        events = self._leave(job, now_s)
        if job.attempt >= ATTEMPTS:
            job.error = f"given up after {ATTEMPTS} attempts"
            self._over(job, RequestState.FAILED, now_s)
            return events
        job.state = advance(job.state, RequestState.QUEUED)
        job.attempt += 1
        self._queue.appendleft(job)
        return [*events, *(self.pump(now_s) if pump else NOTHING)]

    def _leave(self, job: Job, now_s: float, except_worker: Worker | None = None) -> Events:
        """Forget where it ran, and have its workers forget it."""
        self.router.settle(job.view.request_id)
        self._undecided.pop(job, None)
        events = list[tuple[float, Action]]()
        if job.migration is not None:
            events += job.migration.abort(now_s, stays=False)
        if job.transfer is not None:
            events += self._network.cancel(job.transfer, now_s)
        workers = {job.prefill: None, job.decode: None}
        job.prefill = job.decode = job.transfer = None
        job.leased = job.reserved = job.attached = False
        for worker in workers:
            if worker is not None and worker.alive and worker is not except_worker:
                events += worker.cancel(job, now_s)
        return events

    def _over(self, job: Job, state: RequestState, now_s: float) -> None:
        job.state = advance(job.state, state)
        job.end_s = now_s
        self.active.pop(job, None)
        if state is RequestState.FAILED and job in self._queue:
            self._queue.remove(job)
        self.over.append(job)
