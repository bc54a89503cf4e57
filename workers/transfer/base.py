"""The KV transport protocol: the decode side pulls blocks out of the prefill side's pool while both keep computing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from workers.engine.base import KvBlocks, PullResult, TransferError

if TYPE_CHECKING:
    import torch

__all__ = ["GenerationMismatch", "KvPool", "Links", "PullResult", "TransferError", "Transport"]


class GenerationMismatch(TransferError):
    """A source block was freed and reused while it was read: the copy is worthless."""


@dataclass(frozen=True, slots=True)
class KvPool:
    """What a transport registers.

    `data` is the pool `[block, layer, 2, token, kv_head, head_dim]` (contiguous), `generations` an int64 CPU tensor
    `[block]` that the engine increments whenever it frees a block, before the block can be handed out again.
    """

    data: torch.Tensor
    generations: torch.Tensor

    @property
    def block_bytes(self) -> int:
        """Bytes of one block, all layers."""
        return self.data[0].numel() * self.data.element_size()


class Links(Protocol):
    """Connections to the workers that this one pulls from. `metadata()` is what a peer needs; it travels over gRPC as bytes."""

    name: str

    @property
    def problems(self) -> Mapping[str, str]:
        """Peers from which nothing can be pulled, and why, where that is found out before traffic."""

    def metadata(self) -> bytes:
        """Identity and addresses of this side (never a pickle)."""

    def versions(self) -> dict[str, str]:
        """What moves the blocks, as loaded, and `kv_layout`, which must be equal on both sides: for `describe worker`."""

    def connect(self, peer: str, metadata: bytes) -> None:
        """Pre-warm the pair; idempotent, returns at once. New metadata for a known `peer` replaces the old, a failed pair is retried."""

    def connected(self) -> list[str]:
        """Peers whose pair is warm."""

    def disconnect(self, peer: str) -> None:
        """Forget a dead peer; its pulls fail with TransferError."""

    def close(self) -> None:
        """Stop threads and release registrations; pending pulls get TransferError."""


@runtime_checkable
class Transport(Links, Protocol):
    """Links that move blocks. Owns its threads."""

    def pull(self, peer: str, source: KvBlocks, destination: Sequence[int], done: Callable[[PullResult], None]) -> None:
        """READ `source` blocks of `peer` into local blocks `destination` (same length). Returns at once.

        `done` is called once, as a rule on a transfer thread: it must not block. After it nothing writes into `destination`.
        """
