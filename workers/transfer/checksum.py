"""Debug mode: the source digests the blocks in its own memory and the reader compares with what arrived.

A small TCP service, because pulls are one-sided: nothing of the source runs when its blocks are read. A request is a
little-endian u32 count and that many u32 block ids; the answer is one 8-byte digest a block.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import struct
import threading
from collections.abc import Sequence

import numpy as np
import torch

from workers.transfer.base import KvPool, TransferError
from workers.transfer.sockets import receive

log = logging.getLogger(__name__)
DIGEST_BYTES = 8
TIMEOUT_S = 5.0


def block_digests(pool: KvPool, blocks: Sequence[int]) -> bytes:
    """BLAKE2b digests of `blocks` in order, 8 bytes each."""
    digests = (hashlib.blake2b(_block_bytes(pool.data[b]), digest_size=DIGEST_BYTES).digest() for b in blocks)
    return b"".join(digests)


def _block_bytes(block: torch.Tensor) -> bytes:
    return block.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


class ChecksumServer:
    """Answers on `host`:`port` until closed; one client at a time, each bounded by a time-out."""

    def __init__(self, pool: KvPool, host: str = "127.0.0.1") -> None:
        self._pool = pool
        self._socket = socket.create_server((host, 0))
        self.port: int = self._socket.getsockname()[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="kv-checksums", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return  # closed
            with client:
                try:
                    client.settimeout(TIMEOUT_S)
                    self._answer(client)
                except (OSError, TransferError) as error:
                    log.warning("a checksum request failed: %s", error)

    def _answer(self, client: socket.socket) -> None:
        total = self._pool.data.shape[0]
        (count,) = struct.unpack("<I", receive(client, 4))
        if count > total:
            raise TransferError(f"{count} blocks asked for, the pool has {total}")
        blocks = np.frombuffer(receive(client, 4 * count), dtype="<u4")
        if count and int(blocks.max()) >= total:
            raise TransferError("a block outside the pool was asked for")
        client.sendall(block_digests(self._pool, blocks.tolist()))

    def close(self) -> None:
        """Stop the thread."""
        self._closing = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(TIMEOUT_S)


def verify(pool: KvPool, source: Sequence[int], destination: Sequence[int], host: str, port: int) -> None:
    """Compare local blocks `destination` with blocks `source` of the peer; raises TransferError naming the first difference."""
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as server:
            ids = np.asarray(source, dtype="<u4")
            server.sendall(struct.pack("<I", ids.size) + ids.tobytes())
            theirs = receive(server, DIGEST_BYTES * ids.size)
    except OSError as error:
        raise TransferError(f"no checksums from the peer: {error}") from error
    ours = block_digests(pool, destination)
    for i, (src, dst) in enumerate(zip(source, destination, strict=True)):
        at = slice(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES)
        if ours[at] != theirs[at]:
            raise TransferError(f"source block {src} and local block {dst} have different checksums")
