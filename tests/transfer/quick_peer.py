"""Sources of 32 MiB whose blocks hold `value(seed, block)` everywhere, so that a READ takes a while and can be checked fast."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from tests.transfer.forked import Forked
from workers.engine.base import KvBlocks
from workers.transfer.base import KvPool

SHAPE = (2, 2, 64, 4, 64)  # layer, 2, token, kv_head, head_dim: 256 KiB a block in float32
BLOCKS = 128
TCP = {"UCX_TLS": "tcp"}


def value(seed: int, block: int) -> float:
    return 1000.0 * seed + block + 1


def numbered_pool(seed: int | None) -> KvPool:
    """Generation of block i is 7 i; zeros without a seed."""
    data = torch.zeros((BLOCKS, *SHAPE))
    if seed is not None:
        data += torch.tensor([value(seed, b) for b in range(BLOCKS)]).view(-1, 1, 1, 1, 1, 1)
    return KvPool(data, torch.arange(BLOCKS, dtype=torch.int64) * 7)


def everything() -> KvBlocks:
    """A lease of all blocks right after `numbered_pool`."""
    return KvBlocks(tuple(range(BLOCKS)), tuple(7 * b for b in range(BLOCKS)), 16 * BLOCKS)


def holds(pool: KvPool, seed: int, blocks: Sequence[int] = range(BLOCKS)) -> bool:
    """Every number of `blocks` is what a source with `seed` has there."""
    flat = pool.data[list(blocks)].flatten(1)
    return bool((flat == torch.tensor([value(seed, b) for b in blocks])[:, None]).all())


def serve(pipe: Connection, seed: int) -> None:
    """Commands: ("reuse", blocks) gives blocks up and overwrites them, as an engine does after a lease has run out;
    ("fill", blocks) writes what was there at first.
    """
    from workers.transfer.nixl import NixlTransport

    pool = numbered_pool(seed)
    transport = NixlTransport(f"source-{seed}", pool)
    pipe.send_bytes(transport.metadata())
    while True:
        try:
            command, argument = pipe.recv()
        except EOFError:
            break
        if command == "reuse":
            pool.generations[argument] += 1
            pool.data[argument] = -1.0
        elif command == "fill":
            for block in argument:
                pool.data[block] = value(seed, block)
        pipe.send("done")
    transport.close()


class QuickPeer(Forked):
    """One source process, on `host` if given. `with QuickPeer(seed) as peer`; killed at the end."""

    def __init__(self, seed: int, *, host: str = "", **environment: str) -> None:
        super().__init__(serve, seed, host=host, environment=environment)
        self.metadata = self.pipe.recv_bytes()

    def __enter__(self) -> QuickPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, command: str, argument: Any) -> None:
        self.pipe.send((command, argument))
        assert self.pipe.recv() == "done"
