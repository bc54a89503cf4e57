"""Sources that start in milliseconds: forked from a process that has imported torch and NIXL, so that a failure can be looped.

A source answers commands over a pipe while its transport serves; blocks hold `value(seed, block)` everywhere.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from workers.engine.base import KvBlocks
from workers.transfer.base import KvPool

SHAPE = (2, 2, 64, 4, 64)  # layer, 2, token, kv_head, head_dim: 256 KiB a block in float32
BLOCKS = 128
TCP = {"UCX_TLS": "tcp"}

PLUGIN = "nixl/libplugin_UCX.so"
"""Loading it takes half a second: once, in the process that the sources are forked from."""


def load_plugin() -> None:
    for folder in map(Path, sys.path):
        for library in (folder / "nixl_cu13.libs" / PLUGIN, folder / "nixl.libs" / PLUGIN):
            if library.exists():
                ctypes.CDLL(str(library))
                return


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["nixl_cu13._api", "tests.transfer.preload", "workers.transfer.nixl"])


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


def serve(pipe: Connection, seed: int, environment: dict[str, str]) -> None:
    """Commands: ("reuse", blocks) gives blocks up and overwrites them, as an engine does after a lease has run out;
    ("fill", blocks) writes what was there at first.
    """
    os.environ.update(environment)
    torch.set_num_threads(1)
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


class QuickPeer:
    """One source process. `with QuickPeer(seed) as peer`; killed at the end."""

    def __init__(self, seed: int, **environment: str) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(
            target=serve, args=(theirs, seed, {"UCX_TLS": "all"} | environment), daemon=True
        )
        self._process.start()
        theirs.close()
        self.metadata = self._pipe.recv_bytes()

    def __enter__(self) -> QuickPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGKILL)
        self._process.join(10)
        self._process.close()
        self._pipe.close()

    def ask(self, command: str, argument: Any) -> None:
        self._pipe.send((command, argument))
        assert self._pipe.recv() == "done"

    def signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def exit_code(self) -> int | None:
        """Waits a moment for the end; None if it lives."""
        self._process.join(2)
        return self._process.exitcode

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.join(10)
