"""The source side of the collective transport: a thread that accepts readers and one thread for each of them.

A reader's control connection carries a hello, then requests (u32 count, u32 block ids) and after each copy the generations
of these blocks before and after it (two int64 arrays). Its end means that the reader is gone. Blocks go over the `Pair`.
"""

from __future__ import annotations

import logging
import secrets
import socket
import struct
import threading
from datetime import timedelta

import numpy as np
import torch
from torch._C._distributed_c10d import PrefixStore, TCPStore

from workers.transfer.base import KvPool, TransferError
from workers.transfer.pair import SOURCE, Pair
from workers.transfer.sockets import receive

log = logging.getLogger(__name__)
HELLO = struct.Struct("<16s")
WELCOME = struct.Struct("<16sI")
MAGIC = b"tandem-kv-pair-1"
PREFIX_BYTES = 16


class SourceServer:
    """Serves reads of `pool` on `host`:`port` until closed."""

    def __init__(self, pool: KvPool, backend: str, host: str, timeout_s: float) -> None:
        self._pool = pool
        self._backend = backend
        self._host = host
        self._timeout_s = timeout_s
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=timeout_s))
        self._socket = socket.create_server((host, 0))
        self.port: int = self._socket.getsockname()[1]
        self._lock = threading.Lock()
        self._readers: dict[threading.Thread, socket.socket] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="kv-accept", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                reader, _ = self._socket.accept()
            except OSError:
                return  # closed
            thread = threading.Thread(target=self._serve, args=(reader,), name="kv-source", daemon=True)
            with self._lock:
                if self._closed:
                    reader.close()
                    return
                self._readers[thread] = reader
            thread.start()

    def _serve(self, reader: socket.socket) -> None:
        pair: Pair | None = None
        try:
            reader.settimeout(self._timeout_s)
            if HELLO.unpack(receive(reader, HELLO.size))[0] != MAGIC:
                raise TransferError("a stranger connected")
            prefix = secrets.token_hex(PREFIX_BYTES // 2)
            reader.sendall(WELCOME.pack(prefix.encode(), self._store.port))
            store = PrefixStore(prefix, self._store)
            pair = Pair(self._backend, store, SOURCE, self._pool, self._host, self._timeout_s)
            with torch.inference_mode():
                while self._serve_one(reader, pair):
                    pass
        except (OSError, RuntimeError, TransferError) as error:
            if not self._closed:
                log.warning("a KV reader was given up: %s", error)
        finally:
            if pair is not None:
                pair.close()
            reader.close()
            with self._lock:
                self._readers.pop(threading.current_thread(), None)

    def _serve_one(self, reader: socket.socket, pair: Pair) -> bool:
        """Serve one request; False when the reader said good-bye."""
        reader.settimeout(None)  # a reader may rest for as long as it likes
        head = reader.recv(4)
        if not head:
            return False
        reader.settimeout(self._timeout_s)
        (count,) = struct.unpack("<I", head + receive(reader, 4 - len(head)))
        total = self._pool.data.shape[0]
        if not 0 < count <= total:
            raise TransferError(f"{count} blocks asked for, the pool has {total}")
        ids = np.frombuffer(receive(reader, 4 * count), dtype="<u4").astype(np.int64)
        if int(ids.max()) >= total:
            raise TransferError("a block outside the pool was asked for")
        generations = self._pool.generations.numpy()
        before = generations[ids]
        pair.send(torch.from_numpy(ids))
        reader.sendall(before.tobytes() + generations[ids].tobytes())
        return True

    def close(self) -> None:
        """Stop all threads; readers see their connections end."""
        with self._lock:
            self._closed = True
            readers = dict(self._readers)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for reader in readers.values():
            try:
                reader.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("a reader had already gone")
        for thread in (self._thread, *readers):
            thread.join(self._timeout_s)
