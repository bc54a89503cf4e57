"""A process tells its supervisor that it lives: one JSON line {"pulse": {…}} on stdout every half second."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from typing import Any

PULSE_S = 0.5
DUMP_SIGNAL = signal.SIGUSR2
"""Makes a process that pulses write the stacks of its threads to stderr. A supervisor sends it before it kills a hung one."""


class PulsePipe:
    """Writes without waiting: what a supervisor that is stopped itself does not read is dropped once the pipe is full.

    The pipe is opened anew for that, because O_NONBLOCK on stdout itself would break whoever else prints. Does nothing
    where stdout is no pipe: nobody supervises then.
    """

    def __init__(self, stdout: int = 1) -> None:
        self._pipe: int | None = None
        if stat.S_ISFIFO(os.fstat(stdout).st_mode):
            self._pipe = os.open(f"/proc/self/fd/{stdout}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @classmethod
    def after_ready(cls) -> PulsePipe:
        """For a process whose ready line is out."""
        pipe = cls()
        pipe.is_ready()
        return pipe

    def is_ready(self) -> None:
        """The ready line is out: send all that libraries print later to stderr, so that they never wait for a reader either."""
        if self._pipe is not None:
            sys.stdout.flush()
            os.dup2(2, 1)
            with contextlib.suppress(OSError, ValueError, AttributeError):  # no stderr to dump to
                faulthandler.register(DUMP_SIGNAL, all_threads=True)

    def send(self, pulse: dict[str, Any]) -> bool:
        """False if the line was dropped. A line is below PIPE_BUF, so whole or not there."""
        if self._pipe is None:
            return False
        try:
            os.write(self._pipe, json.dumps({"pulse": pulse}).encode() + b"\n")
        except BlockingIOError:
            return False
        except OSError:  # the reader is gone
            os.close(self._pipe)
            self._pipe = None
            return False
        return True

    async def run(self, measure: Callable[[], dict[str, Any]] = dict) -> None:
        """Send what `measure` says, until cancelled. Run on the event loop whose life it shall prove."""
        while self._pipe is not None:
            self.send(measure())
            await asyncio.sleep(PULSE_S)
