"""A two-rank process group of its own, without a default group: rank 0 is the source of the blocks, rank 1 reads.

Blocks go through staging buffers of a few MiB, so a group that is given up can never write into a pool.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Store

from workers.transfer.base import KvPool, TransferError

SOURCE, READER = 0, 1
CHUNK_BYTES = 4 << 20
_POLL_S = 0.0002


def require_backend(backend: str) -> None:
    """Raise TransferError if this torch cannot do `backend` (gloo or nccl)."""
    available = {"gloo": dist.is_gloo_available, "nccl": dist.is_nccl_available}
    if not dist.is_available() or not available[backend]():
        raise TransferError(f"this build of torch has no {backend}")


class Pair:
    """One end. `timeout_s` bounds the set-up and each chunk. The constructor blocks until the other end is there."""

    def __init__(self, backend: str, store: Store, rank: int, pool: KvPool, host: str, timeout_s: float) -> None:
        self._pool = pool
        self._rank = rank
        self._timeout = timedelta(seconds=timeout_s)
        self._nccl = backend == "nccl"
        self._group: Any
        if self._nccl:
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = self._timeout
            torch.cuda.set_device(pool.data.device)
            self._group = dist.ProcessGroupNCCL(store, rank, 2, options)
        else:
            gloo = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
            gloo._timeout = self._timeout
            gloo._devices = [dist.ProcessGroupGloo.create_device(hostname=host)]
            self._group = dist.ProcessGroupGloo(store, rank, 2, gloo)
        chunk_blocks = max(1, CHUNK_BYTES // pool.block_bytes)
        shape = (2, chunk_blocks, *pool.data.shape[1:])
        device = pool.data.device if self._nccl else torch.device("cpu")
        self._staging = torch.empty(shape, dtype=pool.data.dtype, device=device)

    def send(self, blocks: torch.Tensor) -> None:
        """Gather `blocks` (int64 `[n]`) and send them; raises TransferError."""
        sending: Any = None
        for ids, part in self._chunks(blocks):  # gathers one chunk while the one before is under way
            if part.device == self._pool.data.device:
                torch.index_select(self._pool.data, 0, ids, out=part)
            else:
                part.copy_(self._pool.data.index_select(0, ids))
            self._finish(sending)
            sending = self._post(self._group.send, part, READER)
        self._finish(sending)

    def receive(self, blocks: torch.Tensor) -> None:
        """Receive as many blocks and scatter them into `blocks`; raises TransferError."""
        chunks = list(self._chunks(blocks))
        coming = self._post(self._group.recv, chunks[0][1], SOURCE)
        for at, (ids, part) in enumerate(chunks):
            self._finish(coming)
            if at + 1 < len(chunks):
                coming = self._post(self._group.recv, chunks[at + 1][1], SOURCE)
            self._pool.data.index_copy_(0, ids, part.to(self._pool.data.device))

    def _chunks(self, blocks: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Block ids and their place in one of the two staging buffers, in turn."""
        ids, step = blocks.to(self._pool.data.device), self._staging.shape[1]
        for number, at in enumerate(range(0, len(ids), step)):
            part = ids[at : at + step]
            yield part, self._staging[number % 2, : len(part)]

    def _post(self, operation: Any, part: torch.Tensor, rank: int) -> Any:
        try:
            return operation([part], rank, 0)
        except RuntimeError as error:
            raise _broken(error) from error

    def _finish(self, work: Any) -> None:
        if work is None:
            return
        try:
            if not self._nccl:
                work.wait(self._timeout)
                return
            deadline_s = time.monotonic() + self._timeout.total_seconds()
            while not work.is_completed():  # NCCL's own wait only orders streams; a dead peer would hang the stream
                if time.monotonic() > deadline_s:
                    self._group.abort()
                    raise TransferError("the other end of the pair does not answer")
                time.sleep(_POLL_S)
            torch.cuda.current_stream(self._pool.data.device).synchronize()
        except RuntimeError as error:
            raise _broken(error) from error

    def close(self) -> None:
        """Let go of the group; its connections end."""
        if self._nccl:
            self._group.abort()
        self._group = None


def _broken(error: RuntimeError) -> TransferError:
    return TransferError("the pair broke: " + str(error).splitlines()[0].split(". ")[0])
