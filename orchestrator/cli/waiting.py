"""Waits until something holds, and says what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.cli.errors import CliError
from orchestrator.cli.output import say
from orchestrator.cli.units import duration

POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: `done`, and in `state` how things stand, which is said whenever it changes."""

    done: bool
    state: str


def until(look: Callable[[], Look], timeout_s: float, what: str, do: str) -> Look:
    """Look again and again until it is done; raises CliError that says how things stood when the time was over."""
    begun_s = time.monotonic()
    shown = ""
    while True:
        seen = _tried(look)
        if seen.done:
            return seen
        waited_s = time.monotonic() - begun_s
        if waited_s >= timeout_s:
            raise CliError(f"{what} did not happen within {duration(timeout_s)}", seen.state, do)
        if seen.state != shown:
            shown = seen.state
            say(f"{seen.state} ({waited_s:.0f}s of {timeout_s:.0f}s)")
        time.sleep(min(POLL_S, max(0.01, timeout_s - waited_s)))


def _tried(look: Callable[[], Look]) -> Look:
    try:
        return look()
    except Exception as error:
        # A front door that is being started again answers soon; whatever else it says will not change.
        code = getattr(error, "code", None)
        if not callable(code) or code().name != "UNAVAILABLE":
            raise
        return Look(False, "the front door does not answer")
