"""How a launcher is told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Any

DRAIN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOW = signal.SIGQUIT


class Interrupted(BaseException):
    """A signal asked to stop while the cluster was starting."""


class StopSignal:
    """SIGINT, SIGTERM and SIGHUP interrupt a start, and end a running cluster once its requests are done.

    A second one, or SIGQUIT, sets `now`: do not wait for requests any longer.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.now = threading.Event()
        self.starting = True

    def install(self) -> None:
        """Take over the signals (again: Ray installs handlers of its own when it starts)."""
        for number in (*DRAIN, NOW):
            signal.signal(number, self._handle)

    def wait(self) -> None:
        """Block until a signal came."""
        self.starting = False
        self._event.wait()

    def _handle(self, number: int, frame: Any) -> None:
        first = not self._event.is_set()
        self._event.set()
        if number == NOW or not first:
            self.now.set()
        if self.starting and first:
            raise Interrupted
