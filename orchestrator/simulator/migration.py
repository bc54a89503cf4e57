"""Moving a running request to another decode worker: copy while it decodes, copy the tail, go on there."""

from __future__ import annotations

from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestState
from orchestrator.routing.router import Router
from orchestrator.simulator.job import Job
from orchestrator.simulator.kv import Holding
from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.network import Network, Transfer
from orchestrator.simulator.roster import Roster
from orchestrator.simulator.worker import Worker


class Migration:
    """`reserving → copying → switching → done`, or aborted at any point, which leaves the request on its source. Source: ARES §6."""

    def __init__(self, job: Job, target: Worker, router: Router, roster: Roster, network: Network) -> None:
        assert job.decode is not None
        self._job = job
        self._source = job.decode
        self.target = target
        self._router = router
        self._roster = roster
        self._network = network
        self._copied_blocks = 0
        self._transfer: Transfer | None = None
        self._tail: Holding | None = None
        self.completed = False

    @staticmethod
    def possible(job: Job, target: Worker) -> bool:
        """Whether the request decodes somewhere else and nothing else happens to it."""
        decodes = job.state is RequestState.DECODING and job.decode is not None and job in job.decode.decoding.jobs
        return decodes and job.migration is None and target.alive and target is not job.decode

    def start(self, now_s: float) -> Events:
        """Reserve at the target and copy what is complete; nothing happens if the target has no room."""
        job, source = self._job, self._source
        tokens = job.context_tokens + source.decoding.emitted_since_join(job) + source.progress(now_s)[0]
        reserved = self.target.reserve(job, tokens + source.kv.block_tokens, now_s)
        if reserved is None:
            return NOTHING
        job.migration = self
        # The newest token has no KV yet.
        self._copied_blocks = (tokens - 1) // source.kv.block_tokens
        return [*reserved, *self._copy(self._copied_blocks, self._copied, now_s)]

    def abort(self, now_s: float, stays: bool = True) -> Events:
        """Give up: the target frees what it had reserved. A request that `stays` rejoins its source's batch if it had left it."""
        self._job.migration = None
        events = list(self._network.cancel(self._transfer, now_s)) if self._transfer is not None else []
        self._source.departing.pop(self._job, None)
        if self.target.alive:
            events += self.target.release(self._job, now_s)
        if stays and self._tail is not None and self._source.alive:
            self._source.leases.pop(self._job, None)
            self._source.ready.append((self._job, self._tail))
            events += self._source.wake(now_s)
        return events

    def _copy(self, blocks: int, then: Action, now_s: float) -> Events:
        size = blocks * self._source.device.block_bytes
        self._transfer, events = self._network.send(self._source, self.target, size, then, now_s)
        return events

    def _copied(self, now_s: float) -> Events:
        self._transfer = None
        return self._source.depart(self._job, self._switch, now_s)

    def _switch(self, holding: Holding, now_s: float) -> Events:
        """At a step boundary: the request is out of the source's batch, which keeps its blocks until the tail has been read."""
        self._tail = holding
        self._source.leases[self._job] = holding
        grown = self.target.reserve(self._job, self._job.context_tokens, now_s)
        if grown is None:
            return self.abort(now_s)
        return [*grown, *self._copy(max(1, holding.blocks - self._copied_blocks), self._arrived, now_s)]

    def _arrived(self, now_s: float) -> Events:
        job, target = self._job, self.target
        job.migration, job.decode, self._tail, self._transfer = None, target, None, None
        self.completed = True
        for worker in (self._source, target):
            self._roster.hear_of(worker, now_s)
        self._router.account(job.view, target.name, Role.DECODE)
        target.meter.requests += 1
        return [*self._source.release(job, now_s), *target.attach(job, now_s)]
