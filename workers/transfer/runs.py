"""Block lists as runs: neighbouring blocks, on both sides of a copy, move as one piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def merge_runs(source: Sequence[int], destination: Sequence[int]) -> NDArray[np.int64]:
    """Maximal runs in order, `[run, 3]` rows of (first source block, first destination block, length in blocks).

    A run ends where either side does not go on with the next block. Raises ValueError if the lengths differ.
    """
    src = np.asarray(source, dtype=np.int64)
    dst = np.asarray(destination, dtype=np.int64)
    if src.shape != dst.shape or src.ndim != 1:
        raise ValueError(f"{src.size} source blocks for {dst.size} destination blocks")
    if src.size == 0:
        return np.empty((0, 3), dtype=np.int64)
    breaks = np.flatnonzero((np.diff(src) != 1) | (np.diff(dst) != 1)) + 1
    starts = np.concatenate(([0], breaks))
    lengths = np.diff(np.concatenate((starts, [src.size])))
    return np.stack([src[starts], dst[starts], lengths], axis=1)


def check_blocks(blocks: Sequence[int], total_blocks: int, side: str) -> None:
    """Raise ValueError unless `blocks` are distinct indices into a pool of `total_blocks`; `side` names them in the message."""
    ids = np.asarray(blocks, dtype=np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= total_blocks):
        raise ValueError(f"{side} blocks outside the pool of {total_blocks}: {int(ids.min())}..{int(ids.max())}")
    if len(set(blocks)) != ids.size:
        raise ValueError(f"{side} blocks repeat")
