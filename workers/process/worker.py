"""What front doors talk to, whatever drives its engine: sessions, commands, one message per step and front door, status."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from pd.v1 import worker_pb2 as pb
from workers.engine.base import Emission, Engine, Key
from workers.process.commands import Commands
from workers.process.config import worker_of
from workers.process.messages import is_plain, key_to, status_to, tokens_to
from workers.process.peers import Peers
from workers.process.pulls import Pulls
from workers.process.sessions import Send, Sessions
from workers.transfer.base import Links

if TYPE_CHECKING:
    from workers.process.spans import WorkerSpans

STATUS_S = 0.05
"""Least time between two status pushes under load."""
HEARTBEAT_S = 1.0
"""Longest time between two; a heartbeat also lists the keys that the worker holds."""
EXPIRE_S = 0.25
"""How often leases are looked at."""

Command = Callable[[], None]
T = TypeVar("T")
_NONE = array("I")


class Worker(ABC):
    """Everything but the public methods runs where `post` runs commands, and so does the engine."""

    def __init__(self, engine: Engine, links: Links, spans: WorkerSpans | None = None) -> None:
        self.engine = engine
        self.links = links
        self.sessions = Sessions()
        self.peers = Peers(links)
        self._spans = spans
        self._pulls = Pulls(engine, links, self.peers, self.post, spans)
        self._commands = Commands(engine, self._pulls, self.sessions, spans)
        self._next_status_s = self._next_beat_s = self._next_expire_s = 0.0
        self._dirty = False

    @abstractmethod
    def start(self) -> None:
        """Begin to drive the engine."""

    @abstractmethod
    def stop(self) -> None:
        """End after the current step."""

    @abstractmethod
    def post(self, command: Command) -> None:
        """Run `command` between two steps. From any thread."""

    @abstractmethod
    def pulse(self) -> pb.Pulse:
        """Steps done, and for how long the present one has lasted. From any thread."""

    def close(self) -> None:
        """Send what is left to send; after `stop`."""
        if self._spans is not None:
            self._spans.close()

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Like `post`, with a result."""
        future: Future[T] = Future()

        def answer() -> None:
            try:
                future.set_result(question())
            except Exception as error:
                future.set_exception(error)

        self.post(answer)
        return future

    def open_session(self, front_door: str, send: Send) -> None:
        for key in self.sessions.open(front_door, send):
            self.engine.cancel(key)
        cached = self.engine.cached_hashes()
        send(pb.FromWorker(cache=pb.CacheEvents(stored=cached)).SerializeToString())
        self._next_beat_s = 0.0

    def lose_session(self, front_door: str, send: Send) -> None:
        self.sessions.lost(front_door, send, time.monotonic())

    def handle(self, front_door: str, message: pb.ToWorker) -> None:
        """One message of a front door."""
        self._dirty = True
        self._commands.handle(front_door, message)

    def opened(self, front_door: str, send: Send) -> None:
        """See SessionEvents."""
        self.post(lambda: self.open_session(front_door, send))

    def received(self, front_door: str, message: pb.ToWorker) -> None:
        """See SessionEvents."""
        self.post(lambda: self.handle(front_door, message))

    def lost(self, front_door: str, send: Send) -> None:
        """See SessionEvents."""
        self.post(lambda: self.lose_session(front_door, send))

    def status(self) -> pb.WorkerStatus:
        status = status_to(self.engine.stats, self.links.connected(), self._pulls.totals)
        if self.links.problems:
            status.unusable_peers.extend(sorted({worker_of(peer) for peer in self.links.problems}))
        return status

    def step(self) -> None:
        """Let the engine do what it can, and tell the front doors."""
        if self.engine.has_work():
            self._emit(self.engine.step())
            self._dirty = True

    def _emit(self, emissions: list[Emission]) -> None:
        """One message per front door, whatever the batch. A front door takes the plain ones first, so none may follow another kind."""
        steps: dict[str, list[pb.Tokens]] = {}
        plain: dict[str, array[int]] = {}
        not_plain: set[Key] = set()
        for emission in emissions:
            session = self.sessions.owner.get(emission.key)
            if session is None:
                continue
            if is_plain(emission) and emission.key not in not_plain:
                words = plain.setdefault(session.front_door, array("I"))
                words.extend((emission.key.attempt, emission.first_index, emission.tokens[0]))
                continue
            if emission.refusal is not None:
                self._commands.refuse(emission.key, *emission.refusal)
                continue
            if emission.pulled is not None:
                self._commands.pulled(emission.key, emission.pulled)
            not_plain.add(emission.key)
            steps.setdefault(session.front_door, []).append(tokens_to(emission))
            if self._spans is not None:
                self._spans.emitted(emission)
            if emission.finish is not None:
                self.sessions.drop(emission.key)
        for front_door in steps.keys() | plain.keys():
            send = self.sessions.by_front_door[front_door].send
            if send is not None:
                words = plain.get(front_door, _NONE)
                step = pb.Step(items=steps.get(front_door, ()), plain=words.tobytes())
                send(pb.FromWorker(step=step).SerializeToString())

    def _housekeeping(self, now_s: float) -> None:
        if now_s >= self._next_expire_s:
            self._next_expire_s = now_s + EXPIRE_S
            for key in self.engine.expire(now_s):
                self._commands.refuse(key, "expired", "the lease or reservation ran out")
                self._dirty = True
            for key in self.sessions.orphans(now_s):
                self.engine.cancel(key)
                self._dirty = True
        beat = now_s >= self._next_beat_s
        if beat or (self._dirty and now_s >= self._next_status_s):
            self._next_status_s = now_s + STATUS_S
            self._dirty = False
            if beat:
                self._next_beat_s = now_s + HEARTBEAT_S
            self._push_status(beat)

    def _push_status(self, with_keys: bool) -> None:
        status = self.status()
        stored, removed = self.engine.cache_events()
        for session in self.sessions.by_front_door.values():
            if session.send is None:
                continue
            if stored or removed:
                session.send(pb.FromWorker(cache=pb.CacheEvents(stored=stored, removed=removed)).SerializeToString())
            if with_keys:
                status.keys_listed = True
                del status.keys[:]
                status.keys.extend(key_to(key) for key in session.keys)
            session.send(pb.FromWorker(status=status).SerializeToString())
