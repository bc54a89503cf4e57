"""A NIXL agent with one pool. Every method, the constructor included, runs on the transfer thread."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import secrets
import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workers.transfer.base import KvPool, TransferError
from workers.transfer.hugepages import advise
from workers.transfer.metadata import Layout, PeerMetadata

log = logging.getLogger(__name__)

IN_PROGRESS = "PROC"
DONE = "DONE"
_GENERATION_BYTES = 8
_ENVIRONMENT = {"NIXL_LOG_LEVEL": "WARN", "UCX_TCP_TX_SEG_SIZE": "256k", "UCX_TCP_RX_SEG_SIZE": "256k"}
"""Unless set from outside. UCX sends READs over TCP in copies of a segment, by its own choice of 8 KiB: with these a GB costs
about 0.8 s of CPU on both sides together instead of 1.3 (a busy machine, loopback)."""


def _api() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("nixl_cu13._api")
    except ModuleNotFoundError:
        return importlib.import_module("nixl._api")


class Agent:
    """Registrations of the local pool, and with `reads` the prepared descriptor list that READs write to.

    Every agent has a name of its own, so that a restarted peer is never mistaken for its predecessor.
    """

    def __init__(self, name: str, pool: KvPool, *, reads: bool) -> None:
        api = _api()
        if pool.data.is_cuda:
            torch.cuda.set_device(pool.data.device)  # registering VRAM needs a current context on this thread
        self.layout = Layout.of(pool)
        advise(pool.data)
        self.name = f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
        # The progress thread would spin a whole core.
        self.nixl = api.nixl_agent(self.name, api.nixl_agent_config(enable_prog_thread=False, backends=["UCX"]))
        self.memory = "VRAM" if pool.data.is_cuda else "DRAM"
        self._device_id = pool.data.get_device() if pool.data.is_cuda else 0
        self._data_address = pool.data.data_ptr()
        self._generations_address = pool.generations.data_ptr()
        pool_bytes = self.layout.block_bytes * self.layout.blocks
        self._registrations = [
            self.nixl.register_memory([(self._data_address, pool_bytes, self._device_id, "")], self.memory),
            self.nixl.register_memory(
                [(self._generations_address, _GENERATION_BYTES * self.layout.blocks, 0, "")], "DRAM"
            ),
        ]
        self._local_blocks: Any = None
        if reads:
            self._local_blocks = self.prepare("", self._data_address, self.layout.blocks, self._device_id, self.memory)

    def metadata(self, host: str, checksum_port: int) -> PeerMetadata:
        """What a peer needs to read this pool; `host` is where it finds the checksums."""
        return PeerMetadata(
            kind="nixl", incarnation=self.name, layout=self.layout, host=host, checksum_port=checksum_port,
            blob=self.nixl.get_agent_metadata(), data_address=self._data_address,
            generations_address=self._generations_address, memory=self.memory, device_id=self._device_id,
        )  # fmt: skip

    def prepare(self, agent: str, address: int, blocks: int, device_id: int, memory: str) -> Any:
        """A descriptor list with one entry a block; `agent` is empty for the local side."""
        size = self.layout.block_bytes
        entries: NDArray[np.int64] = np.empty((blocks, 3), dtype=np.int64)
        entries[:, 0] = address + np.arange(blocks, dtype=np.int64) * size
        entries[:, 1] = size
        entries[:, 2] = device_id
        return self.nixl.prep_xfer_dlist(agent or "NIXL_INIT_AGENT", entries, memory)

    def add(self, peer: PeerMetadata) -> None:
        """Load a peer's metadata; raises TransferError if it names another agent than it says."""
        if (
            peer.incarnation.encode() not in peer.blob
        ):  # loading and removing it could take the pair with that agent along
            raise TransferError(f"metadata of {peer.incarnation!r:.80} holds another agent")
        loaded = self.nixl.add_remote_agent(peer.blob)
        name = loaded.decode() if isinstance(loaded, bytes) else str(loaded)
        if name != peer.incarnation:
            self.nixl.remove_remote_agent(name)
            raise TransferError(f"metadata of {peer.incarnation!r:.80} holds agent {name!r:.80}")

    def read_blocks(self, remote_blocks: Any, source: NDArray[np.int32], destination: NDArray[np.int32]) -> Any:
        """A handle that READs blocks; NIXL merges neighbours that are consecutive on both sides into one descriptor."""
        return self.nixl.make_prepped_xfer("READ", self._local_blocks, destination, remote_blocks, source)

    def read_generations(self, peer: PeerMetadata, into: torch.Tensor, first: int, count: int) -> Any:
        """A handle that READs `count` generations from block `first` on into the start of `into`."""
        local = [(into.data_ptr(), _GENERATION_BYTES * count, 0)]
        remote = [(peer.generations_address + _GENERATION_BYTES * first, _GENERATION_BYTES * count, 0)]
        nixl = self.nixl
        return nixl.initialize_xfer(
            "READ", nixl.get_xfer_descs(local, "DRAM"), nixl.get_xfer_descs(remote, "DRAM"), peer.incarnation
        )

    def progress(self) -> None:
        """Serve what peers ask of this side: connection set-up, and reads where the link has no one-sided ones."""
        self.nixl.get_new_notifs()

    def close(self) -> None:
        """Deregister and destroy; sockets close with the agent, so nothing can land in the pool any more."""
        if self._local_blocks is not None:
            self._local_blocks.release()
        for registration in self._registrations:
            self.nixl.deregister_memory(registration)
        destroyed = weakref.ref(self.nixl.agent)
        del self._local_blocks, self.nixl
        if destroyed() is not None:  # a handle in a cycle or in a traceback
            gc.collect()
        if destroyed() is not None:
            log.error("the NIXL agent %s is still referred to: its memory and sockets stay", self.name)
