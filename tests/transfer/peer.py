"""The other side of a transfer test, as a process of its own: `python -m tests.transfer.peer KIND NAME BLOCKS SEED CHECKSUMS`.

Speaks JSON lines: prints its metadata once, then answers each command on stdin with one line.
"""

from __future__ import annotations

import base64
import json
import queue
import sys
from collections.abc import Sequence

from tests.transfer.pools import leased, make_pool
from workers.transfer import checksum
from workers.transfer.base import KvPool, PullResult
from workers.transfer.factory import make_transport

block_digests = checksum.block_digests


def zeros(pool: KvPool, blocks: Sequence[int]) -> bytes:
    return bytes(checksum.DIGEST_BYTES * len(blocks))


def main() -> None:
    kind, name, blocks, seed, checksums = sys.argv[1:6]
    pool = make_pool(int(blocks), seed=int(seed))
    transport = make_transport(kind, name, pool, checksums=checksums == "1")
    print(json.dumps({"metadata": base64.b64encode(transport.metadata()).decode()}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "generation" in command:
            block, value = command["generation"]
            pool.generations[block] = value
        if "corrupt_digests" in command:
            checksum.block_digests = zeros if command["corrupt_digests"] else block_digests
        if "read_from" in command:
            transport.connect("other", base64.b64decode(command["read_from"]))
            results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
            everything = list(range(len(pool.data)))
            for _ in range(command["times"]):
                transport.pull("other", leased(everything), everything, results.put)
            assert results.get(timeout=20).error is None  # the others are under way
        print("{}", flush=True)
    transport.close()


if __name__ == "__main__":
    main()
