"""One attempt of a request on simulated workers: place, dispatch, reserve, hand off, leave."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from orchestrator.core.cluster import Role
from orchestrator.core.decisions import Placement
from orchestrator.core.request import RequestState, advance
from orchestrator.routing.router import Router
from orchestrator.simulator.decisions import Decisions
from orchestrator.simulator.job import Job
from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.network import Network
from orchestrator.simulator.roster import Roster
from orchestrator.simulator.worker import Worker

Retry = Callable[[Job, float, bool], Events]
"""Try a request again, at this time, and pump the queue or not."""


class Attempts:
    """Talks to workers and keeps the ledger. Whether a request is tried again, or is over, is the front door's matter (`retry`)."""

    def __init__(
        self, router: Router, roster: Roster, network: Network, decisions: Decisions, lease_s: float, retry: Retry
    ) -> None:
        self.lease_expiries = 0
        self._router = router
        self._roster = roster
        self._network = network
        self._decisions = decisions
        self._lease_s = lease_s
        self._retry = retry
        self._undecided: dict[Job, None] = {}

    @property
    def undecided(self) -> bool:
        """Whether requests lack a decode worker."""
        return bool(self._undecided)

    def start(self, job: Job, now_s: float) -> Events | None:
        """Place and dispatch; None if no worker can take it now."""
        prefill = self._router.place_prefill(job.view)
        self._decisions.placed("prefill", prefill)
        if prefill.worker is None:
            return None
        decode = prefill
        if not prefill.co_locate:
            decode = self._router.place_decode(job.view, prefill.worker)
            self._decisions.placed("decode", decode)
        if decode.worker is None:
            return None
        together = decode.co_locate or decode.worker == prefill.worker
        names = self._router.view.names
        job.state = advance(job.state, RequestState.PREFILLING)
        job.prefill = self._roster.workers[names[decode.worker if together else prefill.worker]]
        self._router.account(job.view, job.prefill.name, Role.PREFILL)
        events = list[tuple[float, Action]]()
        if together:
            job.decode = job.prefill
            self._router.account(job.view, job.decode.name, Role.DECODE)
        else:
            events += self._reserve(job, decode, now_s)
        job.prefill.meter.requests += 1
        return [*events, *job.prefill.enqueue(job, now_s)]

    def _reserve(self, job: Job, placement: Placement, now_s: float) -> Events:
        """Have the decode worker set blocks aside; one that cannot leaves the request undecided."""
        assert placement.worker is not None
        worker = self._roster.workers[self._router.view.names[placement.worker]]
        events = worker.reserve(job, job.context_tokens - job.leased, now_s)
        if events is None:
            self._undecided[job] = None
            return NOTHING
        job.decode, job.reserved = worker, True
        self._router.account(job.view, worker.name, Role.DECODE)
        self._undecided.pop(job, None)
        return events

    def place_again(self, now_s: float) -> list[tuple[float, Action]]:
        """Decode workers for those that lack one, by age. Where a prompt found none, a longer one is not tried, and nobody is once
        there were as many refusals as there are workers: asking for all would cost a pump of an overloaded cluster milliseconds.
        """
        events = list[tuple[float, Action]]()
        too_long, refusals = math.inf, 0
        for job in list(self._undecided):
            if job.view.prompt_tokens >= too_long:
                continue
            again = self._place(job, now_s)
            if again is None:
                too_long = job.view.prompt_tokens
                continue
            events += again
            refusals += job in self._undecided
            if refusals >= len(self._roster.workers):
                break
        return events

    def _place(self, job: Job, now_s: float) -> Events | None:
        """None if no worker has room; a worker that turns out to have none leaves the request undecided."""
        assert job.prefill is not None
        placement = self._router.place_decode(job.view, self._router.row(job.prefill.name))
        self._decisions.placed("decode", placement)
        if placement.worker is None:
            return None
        if placement.co_locate or self._router.view.names[placement.worker] == job.prefill.name:
            return self._retry(job, now_s, False)
        return [*self._reserve(job, placement, now_s), *self.hand_off(job, now_s)]

    def leased(self, job: Job, now_s: float) -> Events:
        """Prefill is done; its blocks wait to be pulled."""
        job.leased = True
        job.state = advance(job.state, RequestState.TRANSFERRING)
        if job.reserved:
            return self.hand_off(job, now_s)
        return ((now_s + self._lease_s, partial(self._expire, job, job.attempt)),)

    def hand_off(self, job: Job, now_s: float) -> Events:
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
        self._roster.hear_of(source, now_s)
        self._router.settle(job.view.request_id, Role.PREFILL)
        job.state = advance(job.state, RequestState.DECODING)
        job.reserved = False
        job.decode.meter.requests += 1
        return [*source.release(job, now_s), *job.decode.attach(job, now_s)]

    def _expire(self, job: Job, attempt: int, now_s: float) -> Events:
        """Nobody has begun to pull within the lease, which can only happen where no decode worker had room in time."""
        if job.attempt != attempt or not job.leased or job.attached:
            return NOTHING
        self.lease_expiries += 1
        return self._retry(job, now_s, True)

    def leave(self, job: Job, now_s: float, except_worker: Worker | None = None) -> Events:
        """Forget where it ran, and have its workers forget it."""
        workers = dict.fromkeys(worker for worker in (job.prefill, job.decode) if worker is not None)
        for worker in workers:
            self._roster.hear_of(worker, now_s)
        self._router.settle(job.view.request_id)
        self._undecided.pop(job, None)
        events = list[tuple[float, Action]]()
        if job.migration is not None:
            events += job.migration.abort(now_s, stays=False)
        if job.transfer is not None:
            events += self._network.cancel(job.transfer, now_s)
        job.prefill = job.decode = job.transfer = None
        job.leased = job.reserved = job.attached = False
        for worker in workers:
            if worker.alive and worker is not except_worker:
                events += worker.cancel(job, now_s)
        return events
