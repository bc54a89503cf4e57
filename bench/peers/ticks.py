"""A clock that ticks at a fixed period, as an engine's steps do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Ticks:
    """Calls `on_tick` every `period_s`, `phase_s` after the whole periods of the monotonic clock; never drifts, skips what it missed."""

    def __init__(self, period_s: float, phase_s: float, on_tick: Callable[[], None]) -> None:
        self._period_s = period_s
        self._phase_s = phase_s
        self._on_tick = on_tick

    def start(self) -> None:
        """On the running loop, from the next tick on."""
        passed = (time.monotonic() - self._phase_s) // self._period_s
        self._due_s = self._phase_s + passed * self._period_s
        self._plan(asyncio.get_running_loop())

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        # From the last due time, not from the clock: a timer that fires a little early must not make a tick twice.
        now_s = time.monotonic()
        self._due_s += max(1.0, (now_s - self._due_s) // self._period_s) * self._period_s
        loop.call_later(max(0.0, self._due_s - now_s), self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._on_tick()
        self._plan(loop)
