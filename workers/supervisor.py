"""One run of a child process: start it, learn when it serves, learn at once how it ended, end it when it hangs."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from orchestrator.core.pulse import DUMP_SIGNAL
from workers.watch import CHECK_S, HungWatch, Limits

log = logging.getLogger(__name__)


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

    Until then it may say `{"progress": TEXT}`, for `on_progress`.

    `on_ready(line)` runs on a thread of this object, at most once. A child that is not ready within `start_timeout_s` is
    killed. With `limits` it must send pulses from then on (see `orchestrator.core.pulse`), or from its first pulse on if that comes
    before; one that hangs is told to write its stacks to its stderr and killed, after `on_hung(why)` on the thread that waits.
    A log on a full disk loses lines.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: dict[str, str],
        on_ready: Callable[[dict[str, Any]], None],
        start_timeout_s: float,
        limits: Limits | None = None,
        on_hung: Callable[[str], None] = lambda why: None,
        on_pulse: Callable[[dict[str, Any]], None] = lambda pulse: None,
        on_progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._on_ready = on_ready
        self._on_hung = on_hung
        self._on_pulse = on_pulse
        self._on_progress = on_progress
        self._watch = HungWatch(limits) if limits is not None else None
        self.hung: str | None = None
        """Why it was killed as hung, if it was."""
        self._log = _open_log(log)
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
        handle = os.pidfd_open(self.pid)
        try:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            while not ended.poll(CHECK_S * 1e3):
                self._check()
        finally:
            os.close(handle)
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

    def _check(self) -> None:
        if self.hung is not None:
            self.kill()
        elif self._watch is not None and (why := self._watch.check(time.monotonic())):
            self.hung = why
            self._write(f"hung: {why}: killed\n".encode())
            self._process.send_signal(DUMP_SIGNAL)  # the next check kills
            self._on_hung(why)

    def _too_slow(self, seconds: float) -> None:
        self._write(f"not ready after {seconds:.0f} s: killed\n".encode())
        self.kill()

    def _read(self) -> None:
        stdout: IO[bytes] | None = self._process.stdout
        assert stdout is not None
        ready = False
        with stdout:
            for line in stdout:
                document = _json_line(line)
                if "pulse" in document:
                    if self._watch is not None:
                        self._watch.heard(document["pulse"])
                    if ready:
                        self._tell(self._on_pulse, document["pulse"])
                elif not ready and "progress" in document:
                    self._tell(self._on_progress, document["progress"])
                elif not ready and "pid" in document:
                    ready = True
                    self._deadline.cancel()
                    if self._watch is not None:
                        self._watch.heard({})
                    self._tell(self._on_ready, document)
                else:
                    self._write(line)

    def _tell(self, who: Callable[[Any], None], what: Any) -> None:
        try:
            who(what)
        except Exception:  # the pipe must be read whatever becomes of a line
            log.exception("process %d said %s", self.pid, what)

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # the disk is full, or the child has ended
            self._log.write(line)


def _open_log(path: Path) -> IO[bytes]:
    try:
        return path.open("ab", buffering=0)
    except OSError:  # no room for one more file: run without a log
        return open(os.devnull, "ab", buffering=0)


def _json_line(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; empty for anything else that a library may print."""
    if not line.startswith(b"{"):
        return {}
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
