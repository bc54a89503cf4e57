"""A source with the blocks of the demo model, in a process of its own."""

from __future__ import annotations

from multiprocessing.connection import Connection

import torch

from tests.transfer.decode_side import BLOCKS, SHAPE
from tests.transfer.forked import Forked
from workers.transfer.base import KvPool
from workers.transfer.nixl import NixlTransport


def serve(pipe: Connection) -> None:
    pool = KvPool(torch.ones((BLOCKS, *SHAPE)), torch.zeros(BLOCKS, dtype=torch.int64))
    transport = NixlTransport("source", pool)
    pipe.send_bytes(transport.metadata())
    pipe.poll(None)
    transport.close()


class BlockSource(Forked):
    """`with BlockSource() as source`, on `host` if given; killed at the end."""

    def __init__(self, *, host: str = "", **environment: str) -> None:
        super().__init__(serve, host=host, environment=environment)
        self.metadata = self.pipe.recv_bytes()

    def __enter__(self) -> BlockSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
