"""Drives an engine that computes in this process, on a thread of its own: takes commands, steps, and takes commands again."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from pd.v1 import worker_pb2 as pb
from workers.engine.base import Engine
from workers.process.worker import EXPIRE_S, STATUS_S, Command, Worker
from workers.transfer.base import Links

if TYPE_CHECKING:
    from workers.process.spans import WorkerSpans


class EngineLoop(Worker):
    """Owns the engine. Other threads only `post` commands."""

    def __init__(self, engine: Engine, links: Links, spans: WorkerSpans | None = None) -> None:
        self.inbox: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        super().__init__(engine, links, spans)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._busy_since_s = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.inbox.put(None)
        self._thread.join(timeout=10)

    def post(self, command: Command) -> None:
        self.inbox.put(command)

    def pulse(self) -> pb.Pulse:
        started_s = self._busy_since_s
        return pb.Pulse(steps=self.engine.stats.steps, step_s=time.monotonic() - started_s if started_s else 0.0)

    def _run(self) -> None:
        while self._drain_inbox():
            self._busy_since_s = time.monotonic()
            self.step()
            self._housekeeping(time.monotonic())

    def _drain_inbox(self) -> bool:
        """Run what was posted; wait for something to do if the engine is idle. False to stop."""
        wait = not self.engine.has_work()
        if wait:
            self._busy_since_s = 0.0
        try:
            while True:
                command = (
                    self.inbox.get(timeout=STATUS_S if self._dirty else EXPIRE_S) if wait else self.inbox.get_nowait()
                )
                if command is None:
                    return False
                self._busy_since_s = self._busy_since_s or time.monotonic()
                command()
                wait = False
        except queue.Empty:
            return True
