"""What workers say: tokens, handoffs, refusals and load, as they concern the requests of a front door."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from orchestrator.core.cluster import Role
from orchestrator.core.decisions import Reason
from orchestrator.core.request import RequestState
from orchestrator.core.sampling import Finish
from orchestrator.frontend.attempts import Attempts
from orchestrator.frontend.flight import Flight, Gap
from orchestrator.frontend.gates import Gates
from orchestrator.frontend.link import WorkerLink
from orchestrator.frontend.service import Cause, Delta, ServiceError
from orchestrator.observability import Metrics, Phase
from orchestrator.routing.lateness import Lateness
from orchestrator.routing.router import Report, Router
from pd.v1 import worker_pb2 as pb

UNLISTED_BEATS = 3
"""Heartbeats in which a worker does not list a request that we count there, before we believe it."""


class Fate(Protocol):
    """Decides what becomes of a request."""

    def retry(self, flight: Flight, cause: str, why: str, *at_fault: str) -> None:
        """Run it again elsewhere; see Retries."""

    def fail(self, flight: Flight, error: ServiceError) -> None:
        """It cannot be answered."""

    def over(self, flight: Flight, state: RequestState, except_worker: str = "") -> None:
        """It is over, which `except_worker` knows."""

    def pump(self) -> None:
        """Workers may have room."""


class WorkerMessages:
    """Takes in what comes over the links, on the event loop. `flights` are the requests that are not over."""

    def __init__(
        self,
        flights: Mapping[str, Flight],
        fate: Fate,
        router: Router,
        attempts: Attempts,
        gates: Gates,
        lateness: Lateness,
        metrics: Metrics,
    ) -> None:
        self._flights = flights
        self._fate = fate
        self._router = router
        self._attempts = attempts
        self._gates = gates
        self._lateness = lateness
        self._metrics = metrics

    def take(self, link: WorkerLink, message: pb.FromWorker) -> None:
        """A message of the worker at the other end of `link`."""
        match message.WhichOneof("kind"):
            case "step":
                step = message.step
                if step.plain:
                    self._plain(link, step.plain)
                for item in step.items:
                    if (flight := self._current(link, item.key)) is not None:
                        self._tokens(flight, link, item)
            case "pulled":
                if (flight := self._current(link, message.pulled.key)) is not None:
                    self._attempts.pulled(flight, message.pulled)
            case "refused":
                if (flight := self._current(link, message.refused.key)) is not None:
                    self._refused(flight, link, message.refused)
            case "cache":
                if message.cache.reset:
                    self._router.forget_cache(link.name)
                self._router.cache_events(link.name, list(message.cache.stored), list(message.cache.removed))
            case "status":
                self._status(link, message.status)

    def _current(self, link: WorkerLink, key: pb.Key) -> Flight | None:
        """The flight that this key speaks of, if it is its current attempt and this worker has part in it."""
        flight = self._attempts.by_ticket.get(key.attempt)
        if flight is None or key.request_id != flight.request_id or not flight.runs_on(link.name):
            return None
        return flight

    def _plain(self, link: WorkerLink, triples: bytes) -> None:
        """The usual step: one token for each of many requests."""
        words = iter(memoryview(triples).cast("I"))
        find, name, now_s = self._attempts.by_ticket.get, link.name, time.perf_counter()
        for ticket, index, token in zip(words, words, words, strict=True):
            flight = find(ticket)
            if flight is None or (flight.decode != name and flight.prefill != name):
                continue
            emitted = flight.emitted
            if index == len(emitted):
                emitted.append(token)
                if flight.take_token is not None:
                    flight.take_token(index, token, now_s)
                else:
                    flight.sink.put(Delta(index, (token,)))
            elif index > len(emitted):
                why = f"tokens from {name} are missing: got {index}, wanted {len(emitted)}"
                self._fate.retry(flight, "gap", why, name)

    def _tokens(self, flight: Flight, link: WorkerLink, item: pb.Tokens) -> None:
        if item.finish == Finish.ERROR:
            self._gates.failed(link.name, item.error)
            self._fate.fail(flight, ServiceError(Cause.WORKER, item.error or f"worker {link.name} failed the request"))
            return
        try:
            delta = flight.accept(item)
        except Gap as gap:
            self._fate.retry(flight, "gap", f"tokens from {link.name} are missing: {gap}", link.name)
            return
        record = flight.record
        record.cached_tokens = flight.cached_tokens
        if record.ttft_s is None and delta is not None and delta.tokens:
            record.ttft_s = record.elapsed_s()
            self._lateness.served(flight.view, time.monotonic())
        if record.state is RequestState.PREFILLING and delta is not None:
            record.end("prefill")
            if record.co_located and delta.finish is None:
                self._router.settle(flight.request_id, Role.PREFILL)
                record.enter(RequestState.DECODING)
                record.begin("decode", link.name, Reason.CO_LOCATED)
        if delta is not None:
            if delta.finish is not None:
                record.finish_reason = delta.finish
                self._fate.over(flight, RequestState.FINISHED, except_worker=link.name)
                flight.sink.put(delta)
                return
            read_s = time.perf_counter()
            flight.sink.put(delta)  # which may end the request: a stop string, or a client that is gone
            if delta.first_index == 0:
                self._metrics.overhead[Phase.FIRST_TOKEN].observe(time.perf_counter() - read_s)
        if item.HasField("lease") and flight.request_id in self._flights:
            self._attempts.leased(flight, item.lease)

    def _refused(self, flight: Flight, link: WorkerLink, refused: pb.Refused) -> None:
        if refused.code == "expired" and self._pulled_by_engine(flight, link):
            return
        if refused.code == "invalid":
            self._fate.fail(flight, ServiceError(Cause.INVALID, refused.message))
        elif link.name == flight.decode and (
            refused.code == "full" or (refused.code == "expired" and not flight.attached)
        ):
            self._attempts.unreserved(flight, refused.code)
        else:
            at_fault = {link.name}
            if refused.code == "transfer":
                self._metrics.transfer_failures.labels(refused.message.partition(":")[0]).inc()
                at_fault |= flight.workers()
            why = f"{link.name} refused: {refused.message}"
            self._fate.retry(flight, f"refused_{refused.code}", why, *at_fault)

    def _status(self, link: WorkerLink, status: pb.WorkerStatus) -> None:
        block_tokens = link.description.block_tokens
        report = Report(
            running=status.running,
            waiting=status.waiting,
            prefill_tokens=status.waiting_prefill_tokens,
            context_tokens=status.decode_context_tokens,
            used_blocks=status.kv_used_blocks,
            total_blocks=status.kv_total_blocks,
            block_tokens=block_tokens,
            step_time_s=status.step_time_s,
            generated_tokens=status.generated_tokens,
        )
        self._router.report(link.name, report)
        self._router.unusable(link.name, status.unusable_peers)
        self._lateness.heard(link.name, report, time.monotonic())
        self._metrics.worker(link.name, status)
        if status.keys_listed:
            self._reconcile(link, status.keys)
        self._fate.pump()

    def _pulled_by_engine(self, flight: Flight, link: WorkerLink) -> bool:
        """An engine that pulls by itself renews the lease on `link` from when it was asked to pull: that side may forget it."""
        lease = flight.lease
        return link.name == flight.prefill and flight.attached and lease is not None and bool(lease.handoff)

    def _reconcile(self, link: WorkerLink, keys: Iterable[pb.Key]) -> None:
        """Cancel what the worker holds and we do not know; run again what we count there and it does not hold."""
        held = {(key.request_id, key.attempt) for key in keys}
        for request_id, attempt in held:
            flight = self._flights.get(request_id)
            if flight is None or flight.ticket != attempt or not flight.runs_on(link.name):
                self._attempts.send(link.name, pb.ToWorker(cancel=pb.Key(request_id=request_id, attempt=attempt)))
        for flight in list(self._flights.values()):
            if flight.runs_on(link.name) and not self._pulled_by_engine(flight, link):
                listed = (flight.request_id, flight.ticket) in held
                flight.unlisted[link.name] = 0 if listed else flight.unlisted.get(link.name, 0) + 1
                if flight.unlisted[link.name] >= UNLISTED_BEATS:
                    self._fate.retry(flight, "unlisted", f"{link.name} does not hold it any more", link.name)
