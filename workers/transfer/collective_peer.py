"""The reading side of one pair of the collective transport: a thread that opens the pair, then serves pulls in order."""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from datetime import timedelta

import numpy as np
import torch
from torch._C._distributed_c10d import PrefixStore, TCPStore

from workers.transfer import checksum
from workers.transfer.base import GenerationMismatch, KvPool, TransferError
from workers.transfer.collective_source import HELLO, MAGIC, WELCOME
from workers.transfer.metadata import Layout, PeerMetadata
from workers.transfer.pair import READER, Pair
from workers.transfer.pending import Pull
from workers.transfer.runs import check_blocks, merge_runs
from workers.transfer.sockets import receive


class CollectivePeer:
    """One incarnation of one peer. A failure is final: its pulls, waiting and later ones, get the same error."""

    def __init__(
        self, name: str, pool: KvPool, metadata: PeerMetadata, backend: str, host: str, timeout_s: float
    ) -> None:
        self.metadata = metadata
        self.ready = False
        self.error: TransferError | None = None
        self._pool = pool
        self._layout = Layout.of(pool)
        self._backend = backend
        self._host = host
        self._timeout_s = timeout_s
        self._pulls: queue.SimpleQueue[Pull | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._pair: Pair | None = None
        self._layout.require_same(metadata.layout)
        self._thread = threading.Thread(target=self._run, name=f"kv-transfer-{name}", daemon=True)
        self._thread.start()

    def submit(self, pull: Pull) -> None:
        """Queue a pull; its `done` runs on this peer's thread, or on the caller's if the peer has failed."""
        with self._lock:
            if self.error is None:
                self._pulls.put(pull)
                return
        pull.finish(0, self.error)

    def fail(self, error: TransferError) -> None:
        """Make waiting pulls fail and wake the thread; a copy that is running ends with its connection."""
        with self._lock:
            if self.error is None:
                self.error = error
                self._pulls.put(None)
            connection = self._socket
        self.ready = False
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the peer closed it first

    @property
    def alive(self) -> bool:
        """The thread has not ended yet."""
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread; not from a `done` callback."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._open()
            self.ready = self.error is None
            with torch.inference_mode():
                while (pull := self._pulls.get()) is not None:
                    self._serve(pull)
        except (OSError, RuntimeError, TransferError) as error:
            self.fail(TransferError(f"cannot connect: {error}"))
        finally:
            if self._pair is not None:
                self._pair.close()
            if self._socket is not None:
                self._socket.close()
        while True:  # the lock in `fail` and `submit` puts the sentinel last
            try:
                left = self._pulls.get_nowait()
            except queue.Empty:
                return
            if left is not None:
                left.finish(0, self.error)

    def _open(self) -> None:
        peer = self.metadata
        connection = socket.create_connection((peer.host, peer.port), timeout=self._timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._socket = connection
        connection.sendall(HELLO.pack(MAGIC))
        prefix, port = WELCOME.unpack(receive(connection, WELCOME.size))
        store = TCPStore(peer.host, port, is_master=False, timeout=timedelta(seconds=self._timeout_s))
        self._pair = Pair(
            self._backend, PrefixStore(prefix.decode("ascii", "replace"), store), READER, self._pool, self._host,
            self._timeout_s,
        )  # fmt: skip

    def _serve(self, pull: Pull) -> None:
        if self.error is not None:
            pull.finish(0, self.error)
            return
        try:
            check_blocks(pull.source.blocks, self.metadata.layout.blocks, "source")
            check_blocks(pull.destination, self._layout.blocks, "destination")
            pull.descriptors = len(merge_runs(pull.source.blocks, pull.destination))
            if len(pull.source.generations) != len(pull.source.blocks):
                raise ValueError("generations and blocks differ in number")
        except ValueError as error:
            pull.finish(0, TransferError(str(error)))
            return
        if time.monotonic() > pull.deadline_s:
            pull.finish(0, TransferError("the pull passed its deadline in the queue"))
            return
        try:
            if pull.destination:
                self._copy(pull)
        except GenerationMismatch as error:
            pull.finish(0, error)
        except (OSError, RuntimeError, TransferError) as error:
            failure = error if isinstance(error, TransferError) else TransferError(f"transfer failed: {error}")
            self.fail(failure)
            pull.finish(0, self.error)
        else:
            pull.finish(self._layout.block_bytes)

    def _copy(self, pull: Pull) -> None:
        connection, pair = self._socket, self._pair
        assert connection is not None and pair is not None
        ids = np.asarray(pull.source.blocks, dtype="<u4")
        connection.settimeout(max(0.001, pull.deadline_s - time.monotonic()))
        connection.sendall(struct.pack("<I", ids.size) + ids.tobytes())
        pair.receive(torch.tensor(pull.destination, dtype=torch.int64))
        read = np.frombuffer(receive(connection, 16 * ids.size), dtype="<i8").reshape(2, ids.size)
        wrong = np.flatnonzero((read != np.asarray(pull.source.generations, dtype=np.int64)).any(axis=0))
        if wrong.size:
            at = int(wrong[0])
            raise GenerationMismatch(
                f"{wrong.size} of {ids.size} blocks changed hands; block {pull.source.blocks[at]} "
                f"has generation {int(read[1, at])}, leased at {pull.source.generations[at]}"
            )
        if self.metadata.checksum_port:
            checksum.verify(
                self._pool, pull.source.blocks, pull.destination, self.metadata.host, self.metadata.checksum_port
            )
