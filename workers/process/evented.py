"""Drives an engine that runs elsewhere, on the event loop: nothing here computes, so nothing needs a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Protocol

from pd.v1 import worker_pb2 as pb
from workers.engine.base import Engine
from workers.process.worker import Command, Worker
from workers.transfer.base import Links

if TYPE_CHECKING:
    from workers.process.spans import WorkerSpans


TICK_S = 0.1
"""Between two looks at leases and status."""
GATHER_S = 0.004
"""Most time between two steps, in which tokens come together."""
GATHER_SHARE = 0.25
"""And no more than this share of what the engine takes for a token."""


class RemoteEngine(Engine, Protocol):
    """An engine that calls `wake` when `step` would give something."""

    wake: Command

    def stalled_s(self, now_s: float) -> float:
        """For how long the engine has shown no progress although it should, in seconds; `now_s` is monotonic."""


class EventedLoop(Worker):
    """One turn of the event loop makes one step of everything that came in meanwhile."""

    def __init__(self, engine: RemoteEngine, links: Links, spans: WorkerSpans | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        super().__init__(engine, links, spans)
        self._remote = engine
        self._step_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        engine.wake = self._wake

    def start(self) -> None:
        self._tick()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def post(self, command: Command) -> None:
        if threading.get_ident() == self._thread:
            command()
        else:
            self._loop.call_soon_threadsafe(command)

    def pulse(self) -> pb.Pulse:
        return pb.Pulse(steps=self.engine.stats.steps, step_s=self._remote.stalled_s(time.monotonic()))

    def _wake(self) -> None:
        if not self._step_is_due:
            self._step_is_due = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._step_is_due = False
        self.step()
        # As a network card holds back interrupts: to be woken costs more than what a token needs, here and in every front door.
        time.sleep(min(GATHER_S, GATHER_SHARE * self.engine.stats.step_time_s))

    def _tick(self) -> None:
        self._housekeeping(time.monotonic())
        self._timer = self._loop.call_later(TICK_S, self._tick)
