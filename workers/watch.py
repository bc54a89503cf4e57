"""Whether a child that still exists hangs, judged by the pulses that it sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHECK_S = 0.25
"""How often a supervisor checks."""
MOST_AWAY_S = 2 * CHECK_S
"""The most that one check adds to a silence: a supervisor that was stopped itself has heard nothing for that reason."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Longest silence, and longest engine step or standstill of the transfer thread, in seconds."""

    silent_s: float
    step_s: float


class Silence:
    """How long nothing was heard, counted only while the listener itself was awake."""

    def __init__(self, most_away_s: float = MOST_AWAY_S) -> None:
        self._most_away_s = most_away_s
        self._silent_s = 0.0
        self._checked_s: float | None = None

    def heard(self) -> None:
        """A sign of life."""
        self._silent_s = 0.0

    def check(self, now_s: float) -> float:
        """Seconds of silence until `now_s` (monotonic). To be called regularly."""
        away_s, self._checked_s = now_s - (self._checked_s or now_s), now_s
        self._silent_s += min(away_s, self._most_away_s)
        return self._silent_s


class HungWatch:
    """Counts silence from the moment the child is ready, or first pulses. `heard` and `check` may run on two threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._silence = Silence()
        self._ready = False
        self._pulse: Mapping[str, Any] = {}

    def heard(self, pulse: Mapping[str, Any]) -> None:
        """The child is ready (an empty pulse), or sent a pulse."""
        self._pulse = pulse
        self._silence.heard()
        self._ready = True

    def check(self, now_s: float) -> str | None:
        """Why the child counts as hung, None if it does not. `now_s` is monotonic."""
        silent_s = self._silence.check(now_s)
        if not self._ready:
            return None
        if silent_s > self._limits.silent_s:
            return f"no sign of life for {silent_s:.1f} s"
        for name, what in (("step_s", "its engine step lasts"), ("transfer_s", "its transfer thread stands still")):
            seconds = float(self._pulse.get(name, 0.0))
            if seconds > self._limits.step_s:
                return f"{what} for {seconds:.1f} s"
        return None
