"""A peer process and a blocking view of pulls."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from functools import cached_property

from tests.transfer.forked import Forked
from tests.transfer.peer import serve
from workers.engine.base import KvBlocks
from workers.transfer.base import PullResult, Transport


class PeerProcess(Forked):
    """A source in another process. `with PeerProcess(...) as peer`."""

    def __init__(self, kind: str, blocks: int, seed: int, *, checksums: bool = False) -> None:
        super().__init__(serve, kind, blocks, seed, checksums)

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def metadata(self) -> bytes:
        """Waits until the process serves; so several can start side by side."""
        return self.pipe.recv_bytes()

    def ask(self, **command: object) -> None:
        self.pipe.send(command)
        assert self.pipe.recv() == "done"


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition not met in time"
        time.sleep(0.002)


def pull(
    transport: Transport, peer: str, source: KvBlocks, destination: Sequence[int], timeout_s: float = 60.0
) -> PullResult:
    results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
    transport.pull(peer, source, destination, results.put)
    return results.get(timeout=timeout_s)
