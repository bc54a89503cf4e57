"""Events in the store: what happened, for `pdctl get events` and `describe`."""

from __future__ import annotations

import time
from enum import StrEnum

from orchestrator.state.base import Store


class Event(StrEnum):
    """What happened, as `pdctl describe` shows it."""

    CONTROLLER_STARTED = "ControllerStarted"
    CONTROLLER_RESTARTED = "ControllerRestarted"
    WORKER_CREATED = "WorkerCreated"
    WORKER_REMOVED = "WorkerRemoved"
    HOST_STARTED = "HostStarted"
    PAIRS_WARM = "PairsWarm"
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


def record(store: Store, kind: str, name: str, reason: Event, message: str = "") -> None:
    """Append an event about `kind`/`name`, dated now (unix seconds)."""
    store.append_event({"at": time.time(), "kind": kind, "object": name, "reason": str(reason), "message": message})
