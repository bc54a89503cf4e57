"""Asks workers over gRPC who they are and what they hold, without holding up the controller's tick."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from orchestrator.control.drain import Occupancy
from orchestrator.control.prewarm import Pair, Peer
from pd.v1 import worker_pb2 as pb
from pd.v1 import worker_pb2_grpc

log = logging.getLogger(__name__)

Incarnation = tuple[str, int]
Question = Incarnation | Pair

DEADLINE_S = 2.0
CONNECT_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Seen:
    """The last answer of one incarnation. `asked_at` (monotonic seconds) is from before the question."""

    description: pb.WorkerDescription
    asked_at: float

    @property
    def occupancy(self) -> Occupancy:
        """What the worker held then."""
        s = self.description.status
        return Occupancy(s.running, s.waiting, s.leased_blocks, s.reserved_blocks, self.asked_at)


class Probe:
    """Answers of ready workers. Calls run on threads; results are read by later ticks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}
        self._seen: dict[Incarnation, Seen] = {}
        self._asked: dict[Question, float] = {}
        self._busy: set[Question] = set()
        self._connected: list[Pair] = []
        self.problems: dict[Pair, str] = {}
        """Why a pair cannot be used, as its puller says."""
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")

    def seen(self, endpoint: Mapping[str, Any]) -> Seen | None:
        """The last answer of the incarnation that `endpoint` names, or None."""
        with self._lock:
            return self._seen.get((endpoint["name"], endpoint["incarnation"]))

    def describe(self, endpoint: Mapping[str, Any], every_s: float) -> None:
        """Ask the worker again if the last question is `every_s` old."""
        key = (endpoint["name"], endpoint["incarnation"])
        self._submit(key, every_s, lambda: self._describe(key, endpoint["address"]))

    def connect(self, pair: Pair, puller: Peer, source: Peer) -> None:
        """Tell `puller` to warm its transport to `source`."""
        self._submit(pair, CONNECT_AGAIN_S, lambda: self._connect(pair, puller, source))

    def take_connected(self) -> list[Pair]:
        """Pairs reported warm since the last call."""
        with self._lock:
            taken, self._connected = self._connected, []
        return taken

    def forget(self, keep: Mapping[str, Mapping[str, Any]]) -> None:
        """Drop what is not about the current incarnation and address of a worker in `keep` (endpoints by name)."""
        current = {(name, endpoint["incarnation"]) for name, endpoint in keep.items()}
        addresses = {endpoint["address"] for endpoint in keep.values()}
        with self._lock:
            self._seen = {key: seen for key, seen in self._seen.items() if key in current}
            self.problems = {pair: why for pair, why in self.problems.items() if _parties(pair) <= current}
            self._asked = {key: at for key, at in self._asked.items() if _parties(key) <= current}
            gone = [self._channels.pop(address) for address in self._channels.keys() - addresses]
        for channel in gone:
            channel.close()

    def _submit(self, key: Question, every_s: float, call: Callable[[], None]) -> None:
        now = time.monotonic()
        with self._lock:
            if key in self._busy or now - self._asked.get(key, -every_s) < every_s:
                return
            self._busy.add(key)
            self._asked[key] = now

        def run() -> None:
            try:
                call()
            except grpc.RpcError as error:
                log.info("%s: %s", key, error.details() if isinstance(error, grpc.Call) else error)
            except ValueError as error:  # the channel was closed because the worker is gone
                log.info("%s: %s", key, error)
            finally:
                with self._lock:
                    self._busy.discard(key)

        self._pool.submit(run)

    def _stub(self, address: str) -> worker_pb2_grpc.WorkerStub:
        with self._lock:
            channel = self._channels.get(address)
            if channel is None:
                channel = self._channels[address] = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
        return worker_pb2_grpc.WorkerStub(channel)

    def _describe(self, key: Incarnation, address: str) -> None:
        asked_at = time.monotonic()
        description = self._stub(address).Describe(pb.DescribeWorkerRequest(), timeout=DEADLINE_S)
        if (description.name, description.incarnation) == key:
            with self._lock:
                self._seen[key] = Seen(description, asked_at)

    def _connect(self, pair: Pair, puller: Peer, source: Peer) -> None:
        request = pb.ConnectPeerRequest(
            peer=source.name, incarnation=source.incarnation, transport_metadata=source.metadata
        )
        reply = self._stub(puller.address).ConnectPeer(request, timeout=DEADLINE_S)
        with self._lock:
            if reply.connected:
                self._connected.append(pair)
                self.problems.pop(pair, None)
            elif reply.problem:
                self.problems[pair] = reply.problem


def _parties(question: Question) -> set[Incarnation]:
    """The incarnations that a question is about."""
    if isinstance(question, Pair):
        return {(question.puller, question.puller_incarnation), (question.source, question.source_incarnation)}
    return {question}
