"""The decode half of a worker without its process: a real engine, NIXL and the commands of a front door."""

from __future__ import annotations

import queue
import time
from array import array
from collections.abc import Callable
from types import TracebackType

import torch

from pd.v1 import worker_pb2 as pb
from workers.demo import MODEL_DIR
from workers.engine.base import KvBlocks
from workers.engine.torch import TorchEngine
from workers.process.commands import Commands
from workers.process.peers import Peers
from workers.process.pulls import Pulls
from workers.process.sessions import Sessions
from workers.transfer.nixl import NixlTransport

FRONT_DOOR = "door"
BLOCK_TOKENS = 16
BLOCKS = 500
"""Blocks of one request, 32 MiB: the READ takes a while."""
TOKENS = BLOCKS * BLOCK_TOKENS
SHAPE = (4, 2, BLOCK_TOKENS, 2, 64)
"""Of a block of the demo model."""


def lease() -> KvBlocks:
    """All blocks of a source whose pool has `BLOCKS`, never reused."""
    return KvBlocks(tuple(range(BLOCKS)), (0,) * BLOCKS, TOKENS)


class DecodeSide:
    """`sent` is what the front door got. The caller's thread is the engine thread."""

    def __init__(self, pull_timeout_s: float) -> None:
        self.engine = TorchEngine(MODEL_DIR, kv_blocks=BLOCKS + 12, block_tokens=BLOCK_TOKENS, num_threads=1)
        self.transport = NixlTransport("decode", self.engine.pool, pull_timeout_s=pull_timeout_s)
        self.sent: list[pb.FromWorker] = []
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        sessions = Sessions()
        sessions.open(FRONT_DOOR, lambda raw: self.sent.append(pb.FromWorker.FromString(raw)))
        self._pulls = Pulls(self.engine, self.transport, Peers(self.transport), self._posted.put)
        self._commands = Commands(self.engine, self._pulls, sessions)

    def __enter__(self) -> DecodeSide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.transport.close()

    def tell(self, **message: object) -> None:
        self._commands.handle(FRONT_DOOR, pb.ToWorker(**message))

    def attach(self, name: str, worker: str, metadata: bytes) -> None:
        """Reserve blocks, and pull all of the source's."""
        key, source = pb.Key(request_id=name, attempt=1), lease()
        self.tell(reserve=pb.Reserve(key=key, tokens=TOKENS))
        assert self.used_blocks == BLOCKS
        self.engine.pool.data.zero_()
        self.tell(
            attach=pb.Attach(
                key=key, tokens=array("I", [7] * (TOKENS + 1)).tobytes(), first_index=1,
                sampling=pb.SamplingParameters(max_tokens=8, temperature=0.0), source_worker=worker,
                source_incarnation=1, source_transport=metadata,
                source=pb.KvBlocks(blocks=source.blocks, generations=source.generations, tokens=source.tokens),
            )
        )  # fmt: skip

    def wait_for_first_bytes(self, timeout_s: float = 30.0) -> None:
        """The READ is under way."""
        first = self.engine.pool.data.view(len(self.engine.pool.data), -1)[:, 0]
        deadline_s = time.monotonic() + timeout_s
        while not bool(torch.any(first != 0)):
            assert time.monotonic() < deadline_s, "nothing arrives"

    def end_of_pull(self, timeout_s: float = 60.0) -> list[pb.FromWorker]:
        """Carry out what the transfer thread posts; returns what the front door gets of it."""
        before = len(self.sent)
        self._posted.get(timeout=timeout_s)()
        return self.sent[before:]

    @property
    def used_blocks(self) -> int:
        """Blocks that nobody else can have; also checks the engine's books."""
        self.engine.check_integrity()
        return self.engine.stats.kv_used_blocks
