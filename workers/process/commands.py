"""What a worker does with each message of a front door. Runs on the engine thread."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.policies.registry import make
from pd.v1 import worker_pb2 as pb
from workers.engine.base import Engine, Full, Invalid, Key
from workers.process.messages import key_from, key_to, pulled_to, request_from
from workers.process.pulls import Pulls
from workers.process.sessions import Sessions
from workers.transfer.base import PullResult

if TYPE_CHECKING:
    from workers.process.spans import WorkerSpans

log = logging.getLogger(__name__)

ENGINE_DECISIONS = ("admission", "multiplexing")
"""Decisions that this engine takes; settings of others are ignored."""


class Commands:
    """Engine, pulls and sessions joined."""

    def __init__(self, engine: Engine, pulls: Pulls, sessions: Sessions, spans: WorkerSpans | None = None) -> None:
        self._engine = engine
        self._pulls = pulls
        self._sessions = sessions
        self._spans = spans

    def handle(self, front_door: str, message: pb.ToWorker) -> None:
        """Carry out one message. One that is late for its session, or makes no sense, changes nothing."""
        if front_door not in self._sessions.by_front_door:
            return
        try:
            self._handle(front_door, message)
        except ValueError as error:
            log.error("message of %s ignored: %s", front_door, error)

    def _handle(self, front_door: str, message: pb.ToWorker) -> None:
        match message.WhichOneof("kind"):
            case "submit":
                request = request_from(front_door, message.submit)
                if self._spans is not None:
                    self._spans.submitted(request.key, message.submit.traceparent, request.first_index)
                self._start(front_door, request.key, lambda: self._engine.submit(request))
            case "reserve":
                key, tokens = key_from(front_door, message.reserve.key), message.reserve.tokens
                self._start(front_door, key, lambda: self._engine.reserve(key, tokens))  # silence is consent
            case "attach":
                self._attach(front_door, message.attach)
            case "release":
                key = key_from(front_door, message.release)
                self._engine.release(key)
                self._sessions.drop(key)
            case "cancel":
                key = key_from(front_door, message.cancel)
                self._engine.cancel(key)
                self._sessions.drop(key)
                if self._spans is not None:
                    self._spans.dropped(key, "cancelled")
            case "policy":
                self._set_policy(message.policy)

    def send(self, key: Key, message: pb.FromWorker) -> None:
        """To the front door that owns `key`, if it is still there."""
        session = self._sessions.owner.get(key)
        if session is not None and session.send is not None:
            session.send(message.SerializeToString())

    def owns(self, key: Key) -> bool:
        """See Owner."""
        return key in self._sessions.owner

    def pulled(self, key: Key, result: PullResult) -> None:
        """See Owner."""
        self.send(key, pb.FromWorker(pulled=pulled_to(key, result)))

    def refuse(self, key: Key, code: str, text: str) -> None:
        """Give a request back to its front door and forget it."""
        self.send(key, pb.FromWorker(refused=pb.Refused(key=key_to(key), code=code, message=text)))
        self._engine.cancel(key)
        self._sessions.drop(key)
        if self._spans is not None:
            self._spans.dropped(key, code)

    def _start(self, front_door: str, key: Key, action: Callable[[], object]) -> None:
        if key in self._sessions.owner:
            log.warning("%s is already here: ignored", key)
            return
        self._sessions.own(front_door, key)
        try:
            action()
        except Full as error:
            self.refuse(key, "full", str(error))
        except Invalid as error:
            self.refuse(key, "invalid", str(error))

    def _attach(self, front_door: str, message: pb.Attach) -> None:
        request = request_from(front_door, message)
        if request.key in self._sessions.owner:  # else cancelled, or its reservation ran out and was refused
            self._pulls.start(self, request, message)

    def _set_policy(self, setting: pb.PolicySetting) -> None:
        if setting.decision not in ENGINE_DECISIONS or not hasattr(self._engine, setting.decision):
            return
        try:
            policy = make(setting.decision, setting.name, json.loads(setting.parameters_json or "{}"))
        except (ValueError, KeyError, TypeError) as error:
            log.error("policy for %s stays as it is: %s", setting.decision, error)
            return
        setattr(self._engine, setting.decision, policy)
