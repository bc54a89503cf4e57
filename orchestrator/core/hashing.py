"""Chained hashes of prompt blocks: the identity of a KV prefix, equal on every process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from orchestrator.core.request import BlockHashes


def block_hashes(tokens: Sequence[int], block_tokens: int) -> BlockHashes:
    """Hash i covers tokens [0, (i + 1) * block_tokens); a partial last block has none. Shape (len // block_tokens,), uint64."""
    count = len(tokens) // block_tokens
    out = np.empty(count, np.uint64)
    data = np.asarray(tokens[: count * block_tokens], np.uint32).tobytes()
    size = block_tokens * 4
    parent = b""
    for i in range(count):
        parent = hashlib.blake2b(parent + data[i * size : (i + 1) * size], digest_size=8).digest()
        out[i] = int.from_bytes(parent, "little")
    return out
