"""What a policy sees of the cluster: one row per worker, in read-only NumPy columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntFlag, StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from orchestrator.core.quote import quoted

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NEVER = 2**60
"""More than any load in tokens."""


class Role(IntFlag):
    """Which phases a worker is asked to run. `BOTH` co-locates them."""

    __hash__ = int.__hash__

    PREFILL = 1
    DECODE = 2
    BOTH = 3

    @classmethod
    def parse(cls, text: str) -> Role:
        """`prefill`, `decode` or `both`; raises ValueError otherwise."""
        try:
            return cls[text.upper()]
        except KeyError:
            raise ValueError(f"unknown role {quoted(text)}: use prefill, decode or both") from None

    def __str__(self) -> str:
        return (self.name or "none").lower()


class WorkerState(StrEnum):
    """Life of a worker as `pdctl get workers` shows it."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DRAINED = "drained"
    DEAD = "dead"


@dataclass(slots=True)
class ClusterView:
    """Columns of length n (workers). Owners update them in place; policies only read.

    `outstanding_prefill_tokens` counts prompt tokens dispatched and not yet computed; `kv_used_blocks` counts leased
    blocks too, because a full prefill worker can take no prompt. `accepts` is false while draining, dead or starting.
    `time_s` is the owner's clock, the only time that a policy sees.
    """

    names: list[str]
    role: Ints
    accepts: Bools
    running: Ints
    waiting: Ints
    outstanding_prefill_tokens: Ints
    decode_context_tokens: Ints
    kv_used_blocks: Ints
    kv_total_blocks: Ints
    block_tokens: Ints
    step_time_s: Floats
    age_s: Floats
    time_s: float = 0.0

    @classmethod
    def empty(cls, names: list[str]) -> Self:
        """A view of idle, closed workers named `names`."""
        columns: dict[str, Any] = {}
        for f in fields(cls):
            if f.name not in ("names", "time_s"):
                dtype = {"accepts": np.bool_, "step_time_s": np.float64, "age_s": np.float64}.get(f.name, np.int64)
                columns[f.name] = np.zeros(len(names), dtype=dtype)
        return cls(names=names, **columns)

    def __len__(self) -> int:
        return len(self.names)

    def takes(self, role: Role) -> Bools:
        """Whether each row accepts work of `role`."""
        mask: Bools = self.accepts & ((self.role & int(role)) != 0)
        return mask

    def barrier(self, role: Role) -> tuple[Ints, int]:
        """To be added to a cost per row: 0 where `takes(role)`, else `NEVER`; and in how many rows it is 0."""
        takes = self.takes(role)
        return np.where(takes, 0, NEVER), int(np.count_nonzero(takes))

    def mixed(self) -> bool:
        """Whether any row runs both phases."""
        return bool((self.role == int(Role.BOTH)).any())

    def eligible(self, role: Role) -> Ints:
        """Rows that accept work of `role`, in row order."""
        rows: Ints = self.takes(role).nonzero()[0]
        return rows

    def has_room(self, tokens: Ints | int) -> Bools:
        """Whether each row has free blocks for `tokens`, which is one number or one per row."""
        room: Bools = self.free_blocks() * self.block_tokens >= tokens
        return room

    def free_blocks(self) -> Ints:
        """Free KV blocks per worker."""
        return self.kv_total_blocks - self.kv_used_blocks

    def open_blocks(self) -> int:
        """Free KV blocks of all workers that accept work."""
        return int(np.dot(self.free_blocks(), self.accepts))
