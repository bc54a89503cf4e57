"""One attempt of a request on the workers: place, dispatch, reserve, hand off, leave."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from orchestrator.core.cluster import Role
from orchestrator.core.decisions import Placement
from orchestrator.core.request import RequestState
from orchestrator.frontend.flight import Flight
from orchestrator.frontend.gates import Gates
from orchestrator.frontend.link import WorkerLink
from orchestrator.observability import Metrics, Phase
from orchestrator.routing.router import Router
from pd.v1 import worker_pb2 as pb


class Attempts:
    """Talks to workers and keeps the ledger. Whether a request is tried again, or is over, is the dispatcher's matter."""

    def __init__(self, router: Router, workers: Mapping[str, WorkerLink], metrics: Metrics, gates: Gates) -> None:
        self._router = router
        self._workers = workers
        self._metrics = metrics
        self._gates = gates
        # Not from 1: workers may still hold attempts of a front door of this name that died.
        self._tickets = secrets.randbits(31)
        self.undecided: dict[str, Flight] = {}
        """Flights that lost their decode worker before the handoff."""
        self.by_ticket: dict[int, Flight] = {}
        """Flights by their attempt on the wire."""
        self._decision = {phase: metrics.decision.labels(phase) for phase in ("prefill", "decode")}

    def start(self, flight: Flight) -> bool:
        """Place and dispatch the current attempt; False if no worker can take it now."""
        begun_s = time.perf_counter()
        prefill = self._router.place_prefill(flight.view)
        decided_s = time.perf_counter()
        self._decision["prefill"].observe(decided_s - begun_s)
        if prefill.worker is None:
            return False
        decode = prefill
        if not prefill.co_locate:
            started_s = decided_s
            decode = self._router.place_decode(flight.view, prefill.worker)
            decided_s = time.perf_counter()
            self._decision["decode"].observe(decided_s - started_s)
        if decode.worker is None:
            return False
        co_located = decode.co_locate or decode.worker == prefill.worker
        worker = self._router.view.names[decode.worker if co_located else prefill.worker]
        self._tickets = self._tickets + 1 & 0xFFFFFFFF
        flight.new_attempt(self._tickets)
        self.by_ticket[flight.ticket] = flight
        record = flight.record
        record.co_located = co_located
        record.enter(RequestState.PREFILLING)
        self._metrics.attempts.inc()
        self._metrics.queue.observe(record.end("queue"))
        if record.trace is not None:
            record.did("route", decided_s - begun_s)
        record.begin("prefill", worker, prefill.reason, _with_emitted(prefill.detail, len(flight.emitted)))
        self._bind(flight, worker, Role.PREFILL)
        if co_located:
            self._bind(flight, worker, Role.DECODE)
        else:
            self._reserve(flight, decode)
        phase = pb.PHASE_BOTH if co_located else pb.PHASE_PREFILL
        submit = pb.Submit(
            key=flight.key,
            tokens=flight.context(),
            first_index=len(flight.emitted),
            sampling=flight.sampling,
            phase=phase,
            traceparent=flight.traceparent("prefill"),
        )
        self.send(worker, pb.ToWorker(submit=submit))
        self._metrics.overhead[Phase.ROUTE].observe(decided_s - begun_s)
        self._metrics.overhead[Phase.DISPATCH].observe(time.perf_counter() - decided_s)
        return True

    def unreserved(self, flight: Flight, why: str) -> None:
        """The decode worker has no blocks for it, or none any more: `place_again` looks for another."""
        flight.unlisted.pop(flight.decode, None)
        flight.decode, flight.attached = "", False
        flight.record.end("reserve", why)
        self._router.settle(flight.request_id, Role.DECODE)
        self.undecided[flight.request_id] = flight

    def place_again(self) -> list[Flight]:
        """Reserve for those that lost their decode worker; returns the ones for which no separate decode worker is left."""
        stranded = []
        for flight in list(self.undecided.values()):
            placement = self._router.place_decode(flight.view, self._router.row(flight.prefill))
            if placement.worker is None:
                continue
            if placement.co_locate or self._router.view.names[placement.worker] == flight.prefill:
                stranded.append(flight)
            else:
                del self.undecided[flight.request_id]
                self._reserve(flight, placement)
        return stranded

    def leased(self, flight: Flight, lease: pb.KvBlocks) -> None:
        """Prefill is done; its blocks wait to be pulled."""
        flight.lease = lease
        flight.record.end("prefill")
        flight.record.enter(RequestState.TRANSFERRING)
        flight.record.begin("handoff", flight.decode)
        self._hand_off(flight)

    def pulled(self, flight: Flight, pulled: pb.Pulled) -> None:
        """The KV is on the decode worker: let the prefill worker have its blocks back."""
        record = flight.record
        record.kv_bytes += pulled.bytes
        self._metrics.transfer_bytes.labels(self._metrics.worker_label(flight.decode)).inc(pulled.bytes)
        self._metrics.transfer.observe(pulled.seconds)
        how = f"{pulled.bytes / 2**20:.2f} MiB in {1e3 * pulled.seconds:.1f} ms, {pulled.descriptors} descriptors"
        if flight.lease is not None and flight.lease.handoff:  # an engine that pulls by itself does not say how much
            how = f"by the engine; first token after {1e3 * pulled.seconds:.1f} ms"
        record.end("handoff", how)
        self.send(flight.prefill, pb.ToWorker(release=flight.key))
        self._gates.succeeded(flight.prefill, flight.request_id)
        self._router.settle(flight.request_id, Role.PREFILL)
        flight.prefill, flight.lease = "", None
        record.enter(RequestState.DECODING)
        record.begin("decode", flight.decode)

    def leave(self, flight: Flight, except_worker: str = "") -> None:
        """Cancel the attempt on its workers and forget where it ran."""
        for worker in (flight.prefill, flight.decode if flight.decode != flight.prefill else ""):
            if worker and worker != except_worker:
                self.send(worker, pb.ToWorker(cancel=flight.key))
                self._gates.left(worker, flight.request_id)
        self.by_ticket.pop(flight.ticket, None)
        self._router.settle(flight.request_id)
        self.undecided.pop(flight.request_id, None)
        flight.prefill = flight.decode = ""
        flight.attached = False
        flight.lease = None
        flight.unlisted.clear()

    def send(self, worker: str, message: pb.ToWorker) -> None:
        link = self._workers.get(worker)
        if link is not None:
            link.send(message)

    def _bind(self, flight: Flight, worker: str, phase: Role) -> None:
        self._router.account(flight.view, worker, phase)
        self._gates.placed(worker, flight.request_id)
        if phase is Role.PREFILL:
            flight.prefill = flight.record.prefill_worker = worker
        else:
            flight.decode = flight.record.decode_worker = worker

    def _reserve(self, flight: Flight, placement: Placement) -> None:
        assert placement.worker is not None
        worker = self._router.view.names[placement.worker]
        flight.record.begin("reserve", worker, placement.reason, placement.detail)
        self._bind(flight, worker, Role.DECODE)
        # Once the first token is out, the context holds one token whose KV nobody has computed.
        tokens = flight.lease.tokens if flight.lease is not None else flight.context_tokens
        self.send(worker, pb.ToWorker(reserve=pb.Reserve(key=flight.key, tokens=tokens)))
        self._hand_off(flight)

    def _hand_off(self, flight: Flight) -> None:
        """Both sides are known: let the decode worker pull. One that refused the blocks ignores this, and its refusal is on the way."""
        if not flight.decode or flight.lease is None or flight.attached:
            return
        flight.attached = True
        flight.record.end("reserve")
        source = self._workers[flight.prefill].description
        attach = pb.Attach(
            key=flight.key,
            tokens=flight.context(),
            first_index=len(flight.emitted),
            sampling=flight.sampling,
            source_worker=source.name,
            source_incarnation=source.incarnation,
            source_transport=source.transport_metadata,
            source=flight.lease,
            traceparent=flight.traceparent("handoff"),
        )
        self.send(flight.decode, pb.ToWorker(attach=attach))


def _with_emitted(detail: str, tokens: int) -> str:
    """Policies see the prompt; what earlier attempts emitted is prefilled after it."""
    more = f"{tokens} emitted tokens to prefill with it"
    return detail if not tokens else f"{detail}, {more}" if detail else more
