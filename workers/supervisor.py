"""One run of a child process: start it, learn when it serves, learn at once how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any


def describe_exit(code: int) -> str:
    """`exit code 3`, or `SIGKILL` for a process that a signal ended (negative `code`, as subprocess reports it)."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def last_lines(path: Path, count: int = 5) -> list[str]:
    """The last non-empty lines of a log file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return list(deque((line.rstrip() for line in text.splitlines() if line.strip()), maxlen=count))


class ChildProcess:
    """A child that prints one JSON line with its `pid` and ports on stdout when it serves; all else it prints goes to `log`.

    `on_ready(line)` runs on a thread of this object, at most once. A child that is not ready within `start_timeout_s` is
    killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: dict[str, str],
        on_ready: Callable[[dict[str, Any]], None],
        start_timeout_s: float,
    ) -> None:
        self._on_ready = on_ready
        self._log = log.open("ab", buffering=0)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | environment,
            start_new_session=True,
        )
        self._deadline = threading.Timer(start_timeout_s, self._too_slow, [start_timeout_s])
        self._deadline.daemon = True
        self._deadline.start()
        self._reader = threading.Thread(target=self._read, name=f"stdout-{self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def wait(self) -> int:
        """Block until the child ends; returns its code, negative for a signal. Wakes up the moment it dies."""
        code = self._process.wait()
        self._deadline.cancel()
        self._reader.join(timeout=1.0)
        self._log.close()
        return code

    def terminate(self) -> None:
        """Ask the child to end (SIGTERM)."""
        self._process.terminate()

    def kill(self) -> None:
        """End the child (SIGKILL)."""
        self._process.kill()

    def _too_slow(self, seconds: float) -> None:
        self._log.write(f"not ready after {seconds:.0f} s: killed\n".encode())
        self.kill()

    def _read(self) -> None:
        stdout: IO[bytes] | None = self._process.stdout
        assert stdout is not None
        ready = False
        with stdout:
            for line in stdout:
                document = None if ready else _ready_line(line)
                if document is None:
                    self._log.write(line)
                    continue
                ready = True
                self._deadline.cancel()
                self._on_ready(document)


def _ready_line(line: bytes) -> dict[str, Any] | None:
    """The ready line; None for anything else that a library may print."""
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) and "pid" in document else None
