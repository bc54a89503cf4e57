"""The source side of a transfer test, as a process of its own: `python -m tests.transfer.peer KIND NAME BLOCKS SEED CHECKSUMS`.

Speaks JSON lines: prints its metadata once, then answers each command on stdin with one line.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence

from tests.transfer.pools import make_pool
from workers.transfer import checksum
from workers.transfer.base import KvPool
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
        print("{}", flush=True)
    transport.close()


if __name__ == "__main__":
    main()
