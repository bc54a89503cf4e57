"""Events in the store: what happened, for `pdctl get events` and `describe`."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from enum import StrEnum
from weakref import WeakKeyDictionary

from orchestrator.state.base import Document, Store, StoreError

log = logging.getLogger(__name__)

MOST_WAITING = 200
"""Events that wait for a store that does not take them; the oldest are dropped."""


class Event(StrEnum):
    """What happened, as `pdctl describe` shows it."""

    CONTROLLER_STARTED = "ControllerStarted"
    CONTROLLER_RESTARTED = "ControllerRestarted"
    WORKER_CREATED = "WorkerCreated"
    WORKER_REMOVED = "WorkerRemoved"
    HOST_STARTED = "HostStarted"
    PAIRS_WARM = "PairsWarm"
    PAIR_UNUSABLE = "PairUnusable"
    DRAIN_REQUESTED = "DrainRequested"
    DRAINED = "Drained"
    DRAIN_BUDGET_EXCEEDED = "DrainBudgetExceeded"
    DRAIN_RESUMED = "DrainResumed"
    WORKER_LEAVING = "WorkerLeaving"
    WORKER_STAYS = "WorkerStays"
    RESTART_REQUESTED = "RestartRequested"
    RESTARTING = "Restarting"
    RESTARTED = "Restarted"
    RESTART_GIVEN_UP = "RestartGivenUp"
    SPEC_APPLIED = "SpecApplied"
    ROLE_CHANGED = "RoleChanged"
    POLICY_CHANGED = "PolicyChanged"
    POOL_SCALED = "PoolScaled"
    MOVE_IGNORED = "MoveIgnored"
    POLICY_INVALID = "PolicyInvalid"
    TICK_FAILED = "TickFailed"
    CONTROLLER_HUNG = "ControllerHung"
    HOST_HUNG = "HostHung"
    RAY_LOST = "RayLost"
    RAY_BACK = "RayBack"
    FRONT_DOOR_DIED = "FrontDoorDied"
    FRONT_DOOR_HUNG = "FrontDoorHung"
    STATE_RESTORED = "StateRestored"


class _Waiting:
    """Events of one store that could not be written yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.events: deque[Document] = deque(maxlen=MOST_WAITING)


_waiting: WeakKeyDictionary[Store, _Waiting] = WeakKeyDictionary()
_making = threading.Lock()


def record(store: Store, kind: str, name: str, reason: Event, message: str = "") -> None:
    """Append an event about `kind`/`name`, dated now (unix seconds).

    What happened has happened: a store that is away or full raises nothing here. The event waits, and is written with the
    next one or by `flush`.
    """
    event = {"at": time.time(), "kind": kind, "object": name, "reason": str(reason), "message": message}
    waiting = _of(store)
    with waiting.lock:
        waiting.events.append(event)
    flush(store)


def flush(store: Store) -> bool:
    """Write the events that wait, oldest first; False if the store does not take them."""
    waiting = _of(store)
    with waiting.lock:
        try:
            while waiting.events:
                store.append_event(waiting.events[0])
                waiting.events.popleft()
        except StoreError as error:
            log.info("%d events wait: %s", len(waiting.events), error)
            return False
    return True


def _of(store: Store) -> _Waiting:
    with _making:
        return _waiting.setdefault(store, _Waiting())
