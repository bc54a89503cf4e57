"""A cluster in a process and session of its own: `start` it from here, or be it (`python -m orchestrator.control.detached`)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.control.launch import Reporter, run
from orchestrator.control.problem import StartError
from orchestrator.control.rundir import RunDirectory
from orchestrator.core.config import Cluster, dump, parse


def start(cluster: Cluster, run_dir: RunDirectory, reporter: Reporter) -> dict[str, Any]:
    """Start a launcher that outlives this process; returns `cluster.json` once it is ready. Raises StartError."""
    run_dir.prepare()
    log = run_dir.logs / "up.log"
    read_end, write_end = os.pipe()
    with log.open("ab") as log_file:
        command = [sys.executable, "-m", __name__, "--run-dir", str(run_dir.path), "--report-fd", str(write_end)]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=log_file,
            pass_fds=[write_end],
            start_new_session=True,
        )
    os.close(write_end)
    assert child.stdin is not None
    with child.stdin as config:
        config.write(json.dumps(dump(cluster)).encode())
    try:
        with os.fdopen(read_end) as lines:
            for line in lines:
                message = json.loads(line)
                if "ready" in message:
                    ready: dict[str, Any] = message["ready"]
                    reporter.ready(ready)
                    return ready
                if "failed" in message:
                    child.wait()
                    raise StartError(*message["failed"])
                reporter.say(message["say"])
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    code = child.wait()
    raise StartError(f"the launcher ended with code {code} before the cluster was ready", f"see {log}")


class PipeReporter:
    """Tells the process that started this one, as JSON lines on file descriptor `fd`, until the cluster is ready."""

    def __init__(self, fd: int) -> None:
        self._pipe = os.fdopen(fd, "w")

    def say(self, line: str) -> None:
        self._send({"say": line})
        print(line, file=sys.stderr, flush=True)

    def ready(self, cluster: dict[str, Any]) -> None:
        self._send({"ready": cluster})
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()

    def failed(self, error: StartError) -> None:
        """The start failed."""
        self._send({"failed": [error.message, error.remedy]})
        print(error, file=sys.stderr, flush=True)

    def _send(self, message: dict[str, Any]) -> None:
        # Whoever started us may be gone; the cluster starts all the same.
        with contextlib.suppress(BrokenPipeError, ValueError):
            print(json.dumps(message), file=self._pipe, flush=True)


def main() -> int:
    """Read the configuration on stdin and run it."""
    parser = argparse.ArgumentParser(prog="orchestrator.control.detached", description="Run one cluster.")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--report-fd", type=int, required=True)
    arguments = parser.parse_args()
    os.set_inheritable(arguments.report_fd, False)
    reporter = PipeReporter(arguments.report_fd)
    try:
        run(parse(json.load(sys.stdin)), RunDirectory(arguments.run_dir), reporter)
    except StartError as error:
        reporter.failed(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
