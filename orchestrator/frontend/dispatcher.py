"""Runs requests on the cluster: queue → prefill worker → handoff → decode worker, and again elsewhere when a worker fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.core.config import Tier
from orchestrator.core.hashing import block_hashes
from orchestrator.core.request import RequestState, RequestView
from orchestrator.core.sampling import Finish
from orchestrator.frontend.attempts import Attempts
from orchestrator.frontend.ended import ended
from orchestrator.frontend.flight import Flight, sampling_to
from orchestrator.frontend.gates import Gates
from orchestrator.frontend.history import History
from orchestrator.frontend.link import WorkerLink
from orchestrator.frontend.records import RequestRecord
from orchestrator.frontend.retries import Retries
from orchestrator.frontend.service import Cause, Delta, ModelInfo, ServiceError, Sink, Submission
from orchestrator.frontend.worker_messages import WorkerMessages
from orchestrator.observability import Metrics
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.recording.log import DecisionLog
from orchestrator.routing.lateness import Lateness
from orchestrator.routing.router import Router
from pd.v1 import worker_pb2 as pb

log = logging.getLogger(__name__)


class Dispatcher:
    """A TokenService over worker links. Everything runs on one event loop, driven by `submit`, cancellation and link events."""

    def __init__(
        self,
        model: ModelInfo,
        router: Router,
        admission: AdmissionPolicy,
        metrics: Metrics,
        *,
        max_concurrent: int,
        max_queue: int,
        timeout_s: float,
        refuse_late: bool = True,
        record: DecisionLog | None = None,
    ) -> None:
        self.model = model
        self.record = record
        self.router = router
        self.admission = admission
        self.metrics = metrics
        self.workers: dict[str, WorkerLink] = {}
        self._max_concurrent, self._max_queue, self._timeout_s = max_concurrent, max_queue, timeout_s
        self._flights: dict[str, Flight] = {}
        self._queue: deque[Flight] = deque()
        self._history = History()
        self.on_end: list[Callable[[RequestRecord], None]] = []
        """Called with the record of every request that is over."""
        self._closing = False
        self._idle: asyncio.Event | None = None
        self._pump_is_due = False
        self._told_depth = 0
        self.gates = Gates(router, metrics)
        self._attempts = Attempts(router, self.workers, metrics, self.gates)
        self.tiers: Mapping[str, Tier] = {}
        """Tiers by name; whoever follows the spec may replace them."""
        self._lateness = Lateness(router, refuse_late)
        self._retries = Retries(self._attempts, self.gates, metrics, self._queue_again, self.fail)
        self._messages = WorkerMessages(
            self._flights, self, router, self._attempts, self.gates, self._lateness, metrics
        )

    @property
    def ready(self) -> bool:
        return self._idle is None and not self._closing and bool(self.router.view.accepts.any())

    @property
    def running(self) -> int:
        """Requests that are not over."""
        return len(self._flights)

    def requests(self) -> list[RequestRecord]:
        """Active requests and the last finished ones, oldest first."""
        return [*self._history, *(flight.record for flight in self._flights.values())]

    def find(self, request_id: str) -> RequestRecord | None:
        flight = self._flights.get(request_id)
        if flight is not None:
            return flight.record
        return self._history.find(request_id)

    def check_integrity(self) -> None:
        """Recount the ledger and compare it with the requests in flight; raises AssertionError."""
        self.router.ledger.check_integrity()
        placed = {i for i in self.router.ledger.request_ids() if not i.startswith("route:")}
        assert placed <= self._flights.keys(), (
            f"the ledger counts requests that are over: {sorted(placed - self._flights.keys())[:3]}"
        )

    def submit(self, submission: Submission, sink: Sink) -> Flight:
        """See TokenService."""
        if self._closing or self._idle is not None:
            raise ServiceError(Cause.SHUTTING_DOWN, "this front door is shutting down; send the request again", 1.0)
        if submission.request_id in self._flights:
            raise ServiceError(
                Cause.DUPLICATE, f"request {submission.request_id} is already running; use another X-Request-Id"
            )
        length, limit = len(submission.tokens), self.model.max_model_len
        if not 0 < length < limit:
            raise ServiceError(Cause.INVALID, f"the prompt has {length} tokens; send 1 to {limit - 1}")
        if not self.ready:
            raise ServiceError(Cause.NO_CAPACITY, "no worker is ready; look at `pdctl get workers`", 1.0)
        tier = self.tiers.get(submission.tier)
        if tier is not None:
            submission.ttft_slo_s = submission.ttft_slo_s or tier.ttft_ms / 1000
            submission.tpot_slo_s = submission.tpot_slo_s or tier.tpot_ms / 1000
        goals = submission.ttft_slo_s, submission.tpot_slo_s
        late = self._lateness.check(length, *goals, len(self._queue), time.monotonic())
        if late is not None:
            raise ServiceError(Cause.OVERLOADED, late.why(submission.tier), late.retry_after_s)
        if len(self._queue) >= self._max_queue:
            raise ServiceError(
                Cause.QUEUE_FULL, f"{len(self._queue)} requests are waiting, which is the limit; try again later", 1.0
            )
        flight = self._flight(submission, sink)
        self._flights[submission.request_id] = flight
        self._queue.append(flight)
        flight.record.begin("queue")
        self._retries.arrived()
        self._lateness.arrived(flight.view)
        flight.timeout = asyncio.get_running_loop().call_later(self._timeout_s, self._time_out, flight)
        self.pump()
        return flight

    def cancel(self, request_id: str) -> bool:
        flight = self._flights.get(request_id)
        if flight is not None:
            self.over(flight, RequestState.CANCELLED)
            flight.sink.put(Delta(len(flight.emitted), (), finish=Finish.CANCELLED))
        return flight is not None

    async def drain(self, budget_s: float) -> bool:
        """Refuse new requests and let those that run finish; False if some still run after `budget_s`."""
        self._idle = asyncio.Event()
        if not self._flights:
            return True
        try:
            async with asyncio.timeout(budget_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Fail what runs and hang up."""
        self._closing = True
        for flight in list(self._flights.values()):
            self.fail(flight, ServiceError(Cause.SHUTTING_DOWN, "this front door is shutting down", 1.0))
        await asyncio.gather(*(link.close() for link in self.workers.values()), return_exceptions=True)

    def pump(self) -> None:
        """Start what the admission policy lets in, in its order, until a request finds no worker."""
        self._pump_is_due = False
        self.gates.tick()
        if self._attempts.undecided:
            for flight in self._attempts.place_again():
                self.retry(flight, "no_decode_worker", "no decode worker is left")
        self.metrics.queue_depth.add(len(self._queue) - self._told_depth)  # other models queue, too
        self._told_depth = len(self._queue)
        if not self._queue:
            return
        view = self.router.view
        free_blocks = view.open_blocks()
        running = len(self._flights) - len(self._queue)
        if running >= self._max_concurrent:
            return
        waiting = list(self._queue)
        decision = self.admission.admit(
            [f.view for f in waiting], running, free_blocks, self.router.block_tokens(), self._max_concurrent
        )
        for position in decision.admit:
            flight = waiting[position]
            if not self._attempts.start(flight):
                return
            self._queue.remove(flight)

    def _flight(self, submission: Submission, sink: Sink) -> Flight:
        view = RequestView(
            request_id=submission.request_id,
            prompt_tokens=len(submission.tokens),
            max_tokens=submission.sampling.max_tokens,
            arrival_s=time.monotonic(),
            tier=submission.tier,
            ttft_slo_s=submission.ttft_slo_s,
            tpot_slo_s=submission.tpot_slo_s,
            block_hashes=block_hashes(submission.tokens, self.router.block_tokens()),
        )
        record = RequestRecord(
            submission.request_id,
            self.model.name,
            submission.tier,
            view.prompt_tokens,
            view.max_tokens,
            arrived_at=time.time(),
            trace=submission.trace,
        )
        flight = Flight(submission, view, record, sink, self._leave, sampling_to(submission.sampling))
        flight.take_token = getattr(sink, "token", None)
        record.output = flight.emitted
        return flight

    def link_up(self, link: WorkerLink) -> None:
        """See LinkEvents."""
        self.workers[link.name] = link
        limit = link.description.max_model_len
        if 0 < limit < self.model.max_model_len:
            self.model = replace(self.model, max_model_len=limit)
        self.router.forget_cache(link.name)

    def link_down(self, link: WorkerLink, why: str) -> None:
        if self.workers.get(link.name) is not link:
            return
        self.router.forget_cache(link.name)
        self.gates.shut(link.name)
        self._lateness.gone(link.name)
        self.metrics.worker_gone(link.name)
        if why.startswith("hung"):
            self.metrics.workers.hung(link.name)
        # Each goes to the head of the queue, so the oldest goes last.
        for flight in reversed(list(self._flights.values())):
            if flight.runs_on(link.name):
                self.retry(flight, "worker_lost", f"lost worker {link.name}: {why}")
        self.pump()

    def link_message(self, link: WorkerLink, message: pb.FromWorker) -> None:
        """See LinkEvents."""
        self._messages.take(link, message)

    def retry(self, flight: Flight, cause: str, why: str, *at_fault: str) -> None:
        """See Fate."""
        self._retries.retry(flight, cause, why, *at_fault)

    def over(self, flight: Flight, state: RequestState, except_worker: str = "") -> None:
        """See Fate."""
        if state is RequestState.FINISHED:
            self.gates.succeeded(flight.decode, flight.request_id)
        self._attempts.leave(flight, except_worker)
        if flight in self._queue:  # to be told by an error costs a millisecond: its text would spell out the flight
            self._queue.remove(flight)
        for timer in (flight.timeout, flight.pause):
            if timer is not None:
                timer.cancel()
        record = flight.record
        if record.ttft_s is None:
            self._lateness.left(flight.view)
        elif state is RequestState.FINISHED:
            self._lateness.answered(flight.view, record.ttft_s, record.elapsed_s(), record.output_tokens)
        del self._flights[flight.request_id]
        record.close(state)
        self._history.add(record)
        for hear in self.on_end:
            hear(record)
        if self.record is not None and self.record.follows(flight.request_id):
            self.record.ended(ended(flight, self.router.block_tokens()))
        if self._queue and not self._closing:
            self._pump_soon()
        if self._idle is not None and not self._flights:
            self._idle.set()

    def _queue_again(self, flight: Flight) -> None:
        self._queue.appendleft(flight)
        self._pump_soon()

    def _pump_soon(self) -> None:
        """Pump when what happens now has been dealt with: whoever walks over flights must not meet them started or ended meanwhile."""
        if not self._pump_is_due:
            self._pump_is_due = True
            asyncio.get_running_loop().call_soon(self.pump)

    def fail(self, flight: Flight, error: ServiceError) -> None:
        """See Fate."""
        flight.record.error = error.message
        self.over(flight, RequestState.FAILED)
        flight.sink.put(error)

    def _leave(self, flight: Flight, state: RequestState) -> None:
        """The client is gone, or has all it wants (`finished`)."""
        if self._flights.get(flight.request_id) is flight:
            if state is RequestState.FINISHED:
                flight.record.finish_reason = Finish.STOP
            self.over(flight, state)

    def _time_out(self, flight: Flight) -> None:
        if self._flights.get(flight.request_id) is flight:
            text = f"no end after {self._timeout_s:g} s; ask for fewer tokens or raise frontDoor.requestTimeoutS"
            self.fail(flight, ServiceError(Cause.TIMEOUT, text))
