"""The engine thread: takes commands, steps the engine, and sends one message per step and front door."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from orchestrator.policies.registry import make
from pd.v1 import worker_pb2 as pb

from workers.engine.base import Emission, Engine, Full, Invalid, Key
from workers.process.config import peer_name
from workers.process.messages import key_from, key_to, kv_from, request_from, status_to, tokens_to
from workers.process.sessions import Send, Sessions
from workers.transfer.base import PullResult, Transport

log = logging.getLogger(__name__)

STATUS_S = 0.05
"""Least time between two status pushes under load."""
HEARTBEAT_S = 1.0
"""Longest time between two; a heartbeat also lists the keys that the worker holds."""
EXPIRE_S = 0.25
"""How often leases are looked at."""

Command = Callable[[], None]
T = TypeVar("T")


class EngineLoop:
    """Owns the engine. Other threads only `post` commands."""

    def __init__(self, engine: Engine, transport: Transport) -> None:
        self.engine = engine
        self.transport = transport
        self.sessions = Sessions()
        self.inbox: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self.pulls = (0, 0, 0)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._next_status_s = self._next_beat_s = self._next_expire_s = 0.0
        self._dirty = False
        self.failure: BaseException | None = None
        self.on_failure: Callable[[BaseException], None] = lambda error: None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the current step."""
        self.inbox.put(None)
        self._thread.join(timeout=10)

    def post(self, command: Command) -> None:
        """Run `command` on the engine thread, between two steps."""
        self.inbox.put(command)

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
        self._next_beat_s = 0.0

    def lose_session(self, front_door: str, send: Send) -> None:
        self.sessions.lost(front_door, send, time.monotonic())

    def handle(self, front_door: str, message: pb.ToWorker) -> None:
        """One message of a front door."""
        self._dirty = True
        match message.WhichOneof("kind"):
            case "submit":
                self._guard(front_door, message.submit.key, lambda: self.engine.submit(request_from(message.submit)))
            case "reserve":
                self._guard(front_door, message.reserve.key, lambda: self._reserve(front_door, message.reserve))
            case "attach":
                self._guard(front_door, message.attach.key, lambda: self._attach(message.attach))
            case "release":
                self.engine.release(key_from(message.release))
                self.sessions.drop(key_from(message.release))
            case "policy":
                self._set_policy(message.policy)
            case "cancel":
                self.engine.cancel(key_from(message.cancel))
                self.sessions.drop(key_from(message.cancel))

    def _set_policy(self, setting: pb.PolicySetting) -> None:
        """Decisions that this engine does not take are ignored."""
        if setting.decision in ("admission", "multiplexing"):
            policy = make(setting.decision, setting.name, json.loads(setting.parameters_json or "{}"))
            setattr(self.engine, setting.decision, policy)

    def status(self) -> pb.WorkerStatus:
        return status_to(self.engine.stats, self.transport.connected(), self.pulls)

    def _guard(self, front_door: str, key: pb.Key, action: Command) -> None:
        """Run an action that may refuse a request, and tell its front door if so."""
        self.sessions.own(front_door, key_from(key))
        try:
            action()
        except Full as error:
            self._refuse(key_from(key), "full", str(error))
        except Invalid as error:
            self._refuse(key_from(key), "invalid", str(error))
        except KeyError as error:
            self._refuse(key_from(key), "unknown", f"no reservation for {error}")

    def _reserve(self, front_door: str, message: pb.Reserve) -> None:
        self.engine.reserve(key_from(message.key), message.tokens)
        self._send(key_from(message.key), pb.FromWorker(reserved=pb.Reserved(key=message.key)))

    def _attach(self, message: pb.Attach) -> None:
        """Pull into the reserved blocks off this thread, then start decoding."""
        request, source = request_from(message), kv_from(message.source)
        destination = self.engine.reserved(request.key)
        peer = peer_name(message.source_worker, message.source_incarnation)
        self.engine.pin(request.key)
        self.transport.connect(peer, message.source_transport)

        def done(result: PullResult) -> None:
            self.post(lambda: finish(result))

        def finish(result: PullResult) -> None:
            self.engine.unpin(request.key)
            bytes_, pulls, failed = self.pulls
            if result.error is not None:
                self.pulls = (bytes_, pulls, failed + 1)
                self._refuse(request.key, "transfer", f"{type(result.error).__name__}: {result.error}")
                return
            self.pulls = (bytes_ + result.bytes, pulls + 1, failed)
            if request.key not in self.sessions.owner:
                return  # cancelled while its blocks were on the way
            pulled = pb.Pulled(
                key=message.key, bytes=result.bytes, descriptors=result.descriptors, seconds=result.seconds
            )
            self._send(request.key, pb.FromWorker(pulled=pulled))
            try:
                self.engine.attach(request, source.tokens)
            except (KeyError, Full, Invalid) as error:
                self._refuse(request.key, "unknown", f"{type(error).__name__}: {error}")

        self.transport.pull(peer, source, destination.blocks, done)

    def _refuse(self, key: Key, code: str, text: str) -> None:
        self._send(key, pb.FromWorker(refused=pb.Refused(key=key_to(key), code=code, message=text)))
        self.engine.cancel(key)
        self.sessions.drop(key)

    def _send(self, key: Key, message: pb.FromWorker) -> None:
        session = self.sessions.owner.get(key)
        if session is not None and session.send is not None:
            session.send(message.SerializeToString())

    def _run(self) -> None:
        try:
            while self._drain_inbox():
                if self.engine.has_work():
                    self._emit(self.engine.step())
                    self._dirty = True
                self._housekeeping(time.monotonic())
        except BaseException as error:  # the process must not live on without its engine
            log.exception("engine thread failed")
            self.failure = error
            self.on_failure(error)

    def _drain_inbox(self) -> bool:
        """Run what was posted; wait for something to do if the engine is idle. False to stop."""
        wait = not self.engine.has_work()
        try:
            while True:
                command = (
                    self.inbox.get(timeout=STATUS_S if self._dirty else EXPIRE_S) if wait else self.inbox.get_nowait()
                )
                if command is None:
                    return False
                command()
                wait = False
        except queue.Empty:
            return True

    def _emit(self, emissions: list[Emission]) -> None:
        steps: dict[str, pb.Step] = defaultdict(pb.Step)
        for emission in emissions:
            session = self.sessions.owner.get(emission.key)
            if session is None:
                continue
            steps[session.front_door].items.append(tokens_to(emission))
            if emission.finish is not None:
                self.sessions.drop(emission.key)
        for front_door, step in steps.items():
            send = self.sessions.by_front_door[front_door].send
            if send is not None:
                send(pb.FromWorker(step=step).SerializeToString())

    def _housekeeping(self, now_s: float) -> None:
        if now_s >= self._next_expire_s:
            self._next_expire_s = now_s + EXPIRE_S
            for key in self.engine.expire(now_s):
                self._refuse(key, "expired", "the lease or reservation ran out")
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
