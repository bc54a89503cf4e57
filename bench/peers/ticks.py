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
        self._plan(asyncio.get_running_loop())

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = time.monotonic()
        done = (now_s - self._phase_s) // self._period_s
        wait_s = (done + 1) * self._period_s + self._phase_s - now_s
        loop.call_later(wait_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._on_tick()
        self._plan(loop)
