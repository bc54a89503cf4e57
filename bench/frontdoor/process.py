"""Child processes of the benchmark: started, talked to, and ended without leftovers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.control import die_with_parent

END_S = 5.0


class Child:
    """A process that prints a line of JSON when it serves (if `speaks`); it dies with this one. Other output goes to `log`."""

    def __init__(self, command: list[str], log: Path, speaks: bool = True, **environment: str) -> None:
        wrapper = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())]
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*wrapper, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if speaks else errors,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        self.ready = self._line() if speaks else {}

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def log_tail(self) -> str:
        """The last lines of its output, for an error message."""
        return self._log.read_text(errors="replace")[-1500:]

    def ask(self, line: str) -> None:
        """Send a line to a helper process (`bench.peers.child`) and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._line()

    def wait(self, timeout_s: float) -> int:
        return self._process.wait(timeout_s)

    def end(self) -> None:
        """SIGTERM, then SIGKILL."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            document: dict[str, Any] = json.loads(line)
            if "pulse" not in document:
                return document
        raise RuntimeError(f"{self._log.stem} ended: {self.log_tail()}")
