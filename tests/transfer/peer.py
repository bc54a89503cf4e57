"""The other side of a transfer test: a transport that answers commands over a pipe. Runs in a `Forked`."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from multiprocessing.connection import Connection

from tests.transfer.pools import leased, make_pool
from workers.transfer import checksum
from workers.transfer.base import KvPool, PullResult
from workers.transfer.factory import make_transport

block_digests = checksum.block_digests


def zeros(pool: KvPool, blocks: Sequence[int]) -> bytes:
    return bytes(checksum.DIGEST_BYTES * len(blocks))


def serve(pipe: Connection, kind: str, blocks: int, seed: int, checksums: bool) -> None:
    pool = make_pool(blocks, seed=seed)
    transport = make_transport(kind, "source", pool, checksums=checksums)
    pipe.send_bytes(transport.metadata())
    while True:
        try:
            command = pipe.recv()
        except EOFError:
            break
        if "generation" in command:
            block, value = command["generation"]
            pool.generations[block] = value
        if "corrupt_digests" in command:
            checksum.block_digests = zeros if command["corrupt_digests"] else block_digests
        if "read_from" in command:
            transport.connect("other", command["read_from"])
            results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
            everything = list(range(len(pool.data)))
            for _ in range(command["times"]):
                transport.pull("other", leased(everything), everything, results.put)
            assert results.get(timeout=60).error is None  # the others are under way
        pipe.send("done")
    transport.close()
