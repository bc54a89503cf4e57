"""Pools whose bytes can be predicted in another process."""

from __future__ import annotations

import torch

from workers.engine.base import KvBlocks
from workers.transfer.base import KvPool

SHAPE = (2, 2, 16, 4, 32)  # layer, 2, token, kv_head, head_dim: 32 KiB a block in float32


def make_pool(blocks: int, seed: int | None) -> KvPool:
    """A pool of `blocks`: random from `seed`, or zeros. Generation of block i is 7 i."""
    data = torch.zeros((blocks, *SHAPE))
    if seed is not None:
        data = torch.randn((blocks, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return KvPool(data, torch.arange(blocks, dtype=torch.int64) * 7)


def leased(blocks: list[int]) -> KvBlocks:
    """What the source would hand out for `blocks` right after `make_pool`."""
    return KvBlocks(tuple(blocks), tuple(7 * b for b in blocks), 16 * len(blocks))
