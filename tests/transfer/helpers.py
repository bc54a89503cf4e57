"""A peer process and a blocking view of pulls."""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from workers.engine.base import KvBlocks
from workers.transfer.base import PullResult, Transport


class PeerProcess:
    """A source in another process. `with PeerProcess(...) as peer`."""

    def __init__(
        self, kind: str, blocks: int, seed: int, *, checksums: bool = False, env: dict[str, str] | None = None
    ) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.transfer.peer",
            kind,
            "source",
            str(blocks),
            str(seed),
            str(int(checksums)),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        )  # fmt: skip

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @cached_property
    def metadata(self) -> bytes:
        """Waits until the process serves; so several can start side by side."""
        return base64.b64decode(self._line()["metadata"])

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the peer process died"
        return dict(json.loads(line))

    def ask(self, **command: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self._line()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def wait_until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition not met in time"
        time.sleep(0.002)


def pull(
    transport: Transport, peer: str, source: KvBlocks, destination: Sequence[int], timeout_s: float = 20.0
) -> PullResult:
    results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
    transport.pull(peer, source, destination, results.put)
    return results.get(timeout=timeout_s)
