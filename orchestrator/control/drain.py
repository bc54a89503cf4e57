"""When a draining worker is drained: a pure function of what was asked and what the worker says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SETTLE_S = 0.5
"""Front doors learn of a drain within this time; a worker that is idle earlier may still be sent a request."""
ANSWER_S = 5.0
"""A worker that has said nothing for this long after that is taken for busy."""


class DrainStep(StrEnum):
    """What the controller does now for one worker."""

    NONE = "none"
    WAIT = "wait"
    DRAINED = "drained"
    BUDGET_EXCEEDED = "budget_exceeded"


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What a worker holds, and when (seconds on the caller's clock) it said so."""

    running: int
    waiting: int
    leased_blocks: int
    reserved_blocks: int
    observed_at: float

    @property
    def idle(self) -> bool:
        """Nothing runs, waits, is leased to a peer or is reserved for a request on its way."""
        return not (self.running or self.waiting or self.leased_blocks or self.reserved_blocks)


def draining(worker: Mapping[str, Any]) -> bool:
    """The worker is asked to drain and has not finished."""
    return worker["drain"] is not None and not worker["drained"]


def patience_s(budget_s: float) -> float:
    """How long a worker that says nothing is waited for. A budget of nothing ends no drain before the worker was asked."""
    return max(budget_s, SETTLE_S + ANSWER_S)


def drain_step(worker: Mapping[str, Any], occupancy: Occupancy | None, now: float) -> DrainStep:
    """The next step for the worker document `worker`; `occupancy` is None while the worker does not answer.
    `drain.requested_at`, `now` and `occupancy.observed_at` are on one clock (see `anchors`).

    An idle worker is drained under any budget: only what it says, or a long silence, makes it a busy one. A budget that is over does
    not stop what runs: the worker stays closed to new work, and the event is recorded once, which `drain.exceeded` in the document
    remembers across controllers.
    """
    if not draining(worker):
        return DrainStep.NONE
    drain = worker["drain"]
    asked = occupancy is not None and occupancy.observed_at >= drain["requested_at"] + SETTLE_S
    if asked and occupancy is not None and occupancy.idle:
        return DrainStep.DRAINED
    budget_s = drain["budget_s"] if asked else patience_s(drain["budget_s"])
    if not drain.get("exceeded") and now > drain["requested_at"] + budget_s:
        return DrainStep.BUDGET_EXCEEDED
    return DrainStep.WAIT
