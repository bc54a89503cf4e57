"""Processes that carry a mark in their environment, however they were started."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from orchestrator.control.leftovers import exists

RAY_RUN = "TANDEM_RAY_RUN"
"""Environment variable of everything that one run of a private Ray started, engines included."""


def marked(name: str, value: str) -> list[int]:
    """Processes, other than this one, that were started with `name=value`."""
    mark, found = f"{name}={value}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0") and exists(int(entry.name)):
                    found.append(int(entry.name))
    return found


def end_marked(name: str, value: str, most_s: float = 10.0) -> None:
    """SIGKILL them until none is left, for `most_s` at most: one may wait in a driver and not die."""
    deadline = time.monotonic() + most_s
    while (left := marked(name, value)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
