"""How a worker is restarted without a client noticing: a pure function of what was asked and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Document = Mapping[str, Any]


class RestartStep(StrEnum):
    """What the controller does now for one worker."""

    NONE = "none"
    WAIT = "wait"
    STOP = "stop"
    """End its host and engine; reconciliation makes new ones with the spec in force."""
    RESUME = "resume"
    """The new engine serves: let it take work as before."""
    GIVE_UP = "give_up"
    """Work is left and the time is up: let it take work again, as it is."""


def restart_step(worker: Document, endpoint: Document | None, warm: bool) -> RestartStep:
    """The next step. `warm`: transports to and from the endpoint's incarnation are warm, or have been waited for long enough.

    Whether the worker is drained, or its budget over (`drain.exceeded`), is what `drain_step` found.

    An engine that died while it was drained has been restarted by its host; then there is nothing left to stop.
    """
    restart = worker.get("restart")
    if not restart:
        return RestartStep.NONE
    if endpoint is None:
        return RestartStep.WAIT
    if endpoint["incarnation"] != restart["incarnation"]:
        return RestartStep.RESUME if endpoint["state"] == "ready" and warm else RestartStep.WAIT
    if worker["drained"] or endpoint["state"] != "ready":
        return RestartStep.STOP
    drain = worker["drain"]
    if drain is None:  # somebody let it take work again
        return RestartStep.GIVE_UP
    if drain.get("exceeded"):
        return RestartStep.STOP if restart["force"] else RestartStep.GIVE_UP
    return RestartStep.WAIT
