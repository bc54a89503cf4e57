"""KV transport over torch.distributed (NCCL; gloo on CPU): one process group for each reader of each source."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from workers.engine.base import KvBlocks
from workers.transfer.base import KvPool, PullResult, TransferError
from workers.transfer.checksum import ChecksumServer
from workers.transfer.collective_peer import CollectivePeer
from workers.transfer.collective_source import SourceServer
from workers.transfer.metadata import Layout, PeerMetadata
from workers.transfer.pair import require_backend
from workers.transfer.pending import Pull


class CollectiveTransport:
    """See `Transport`. Every peer has a thread of its own here, which runs its pulls in order and their `done`.

    `host` is this side's address: readers dial it, gloo binds to it. The source takes part in each copy, unlike with NIXL.
    Raises TransferError if torch lacks `backend` (gloo or nccl), ValueError for a pool that cannot be served.
    """

    def __init__(
        self,
        name: str,
        pool: KvPool,
        *,
        backend: str = "gloo",
        host: str = "127.0.0.1",
        checksums: bool = False,
        pull_timeout_s: float = 10.0,
    ) -> None:
        require_backend(backend)
        if backend == "nccl" and not pool.data.is_cuda:
            raise ValueError("NCCL moves CUDA tensors only")
        self.name = name
        self._pool = pool
        self._backend = backend
        self._host = host
        self._timeout_s = pull_timeout_s
        layout = Layout.of(pool)
        self._checksums = ChecksumServer(pool, host) if checksums else None
        self._server = SourceServer(pool, backend, host, pull_timeout_s)
        self._metadata = PeerMetadata(
            kind=backend, incarnation=f"{name}-{os.getpid()}-{secrets.token_hex(4)}", layout=layout, host=host,
            port=self._server.port, checksum_port=self._checksums.port if self._checksums else 0,
        ).encode()  # fmt: skip
        self._lock = threading.Lock()
        self._peers: dict[str, CollectivePeer] = {}
        self._refused: dict[str, TransferError] = {}
        self._retired: list[CollectivePeer] = []
        self._closed = False

    @property
    def problems(self) -> Mapping[str, str]:
        """See Links: they show when a pull is tried."""
        return {}

    def metadata(self) -> bytes:
        """See `Transport`."""
        return self._metadata

    def versions(self) -> dict[str, str]:
        """See `Transport`."""
        found = {"kv_layout": Layout.of(self._pool).fingerprint}
        if self._backend == "nccl":
            found["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
        return found

    def connect(self, peer: str, metadata: bytes) -> None:
        """See `Transport`. A pair that failed is set up again; metadata that does not fit makes later pulls fail with the reason."""
        with self._lock:
            if self._closed:
                return
            try:
                decoded = PeerMetadata.decode(metadata, self._backend)
                known = self._peers.get(peer)
                if known is not None and known.metadata == decoded and known.error is None:
                    return
                self._retire(peer, TransferError(f"{peer} connected anew"))
                self._peers[peer] = CollectivePeer(
                    self.name, self._pool, decoded, self._backend, self._host, self._timeout_s
                )
            except TransferError as error:
                self._retire(peer, error)
                self._refused[peer] = error

    def connected(self) -> list[str]:
        """See `Transport`."""
        with self._lock:
            return [name for name, peer in self._peers.items() if peer.ready]

    def disconnect(self, peer: str) -> None:
        """See `Transport`."""
        with self._lock:
            self._retire(peer, TransferError(f"{peer} was disconnected"))

    def _retire(self, name: str, error: TransferError) -> None:
        self._refused.pop(name, None)
        peer = self._peers.pop(name, None)
        if peer is not None:
            peer.fail(error)
            self._retired = [p for p in self._retired if p.alive]
            self._retired.append(peer)

    def pull(self, peer: str, source: KvBlocks, destination: Sequence[int], done: Callable[[PullResult], None]) -> None:
        """See `Transport`. Errors known at once come on the caller's thread."""
        pull = Pull(source, tuple(destination), done, time.monotonic() + self._timeout_s)
        with self._lock:
            known = self._peers.get(peer)
            error = self._refused.get(peer) or TransferError(
                "the transport is closed" if self._closed else f"no connection to {peer}"
            )
        if known is not None:
            known.submit(pull)
        else:
            pull.finish(0, error)

    def close(self) -> None:
        """See `Transport`. Idempotent; waits for a copy from a hung peer until its time is over."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for name in list(self._peers):
                self._retire(name, TransferError("the transport was closed"))
        for peer in self._retired:
            peer.join(self._timeout_s + 1.0)
        self._server.close()
        if self._checksums is not None:
            self._checksums.close()
