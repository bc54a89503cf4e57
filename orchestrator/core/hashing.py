"""Chained hashes of prompt blocks: the identity of a KV prefix, equal on every process of a cluster.

A multilinear hash: every pair of tokens is mixed by a bijection and multiplied by a key of its position, and the hash of a prefix
is the running sum at its end plus a key of its length, all modulo 2^64. Hash i so depends on every token before it, and all
hashes of a prompt are six array operations. Two prefixes that nobody has made on purpose collide with a probability of about 2^-61.

The keys are drawn from the environment variable TANDEM_PREFIX_KEY (any text, the same for all processes of a cluster; a public
default where it is not set). Whoever knows the key can make prompts collide, so it is a secret where tenants do not trust each
other. 64 bits are no proof of equality even then: a cache that serves KV by these hashes compares tokens as well, whereas a router,
for which a collision means a missed hit, need not.
Source: Lemire and Kaser, "Strongly universal string hashing is fast" §2 (2014).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.core.request import BlockHashes

_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


class _Keys:
    """Odd 64-bit keys by position, made when a longer prompt than ever comes."""

    def __init__(self, secret: bytes, stream: bytes) -> None:
        self._seed = int.from_bytes(blake2b(secret, digest_size=8, person=stream).digest(), "little")
        self._keys = np.zeros(0, np.uint64)

    def first(self, count: int) -> BlockHashes:
        if count > len(self._keys):
            at = np.arange(1, 2 * count + 1024, dtype=np.uint64) * _ODD + np.uint64(self._seed)
            # splitmix64. Source: Steele, Lea and Flood, OOPSLA '14, figure 17.
            at = (at ^ (at >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            at = (at ^ (at >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            self._keys = (at ^ (at >> np.uint64(31))) | np.uint64(1)
        return self._keys[:count]


_SECRET = blake2b(os.environ.get("TANDEM_PREFIX_KEY", "tandem").encode()).digest()
_POSITIONS, _LENGTHS = _Keys(_SECRET, b"positions"), _Keys(_SECRET, b"lengths")


Tokens = Sequence[int] | memoryview | bytes | npt.NDArray[Any]


def block_hashes(tokens: Tokens, block_tokens: int) -> BlockHashes:
    """Hash i covers tokens [0, (i + 1) * block_tokens); a partial last block has none. Shape (len // block_tokens,), uint64.

    Buffers of uint32 (array.array("I"), NumPy arrays) and bytes (uint32, little endian) are read where they lie, other sequences
    are copied. Raises OverflowError or ValueError for numbers outside uint32.
    """
    return continued_hashes(0, 0, tokens, block_tokens)


def continued_hashes(value: int, depth: int, tokens: Tokens, block_tokens: int) -> BlockHashes:
    """Hashes of the blocks that follow a prefix of `depth` blocks whose hash is `value`; see block_hashes, which starts at (0, 0)."""
    data = _uint32(tokens)
    blocks = len(data) // block_tokens
    if not blocks:
        return np.zeros(0, np.uint64)
    data = data[: blocks * block_tokens]
    words = data.astype(np.uint64) if block_tokens % 2 else data.view(np.uint64)
    step = len(words) // blocks
    mixed = words * _ODD
    mixed ^= mixed >> _HALF
    mixed *= _POSITIONS.first(depth * step + len(mixed))[depth * step :]
    lengths = _LENGTHS.first(depth + blocks)
    if depth:
        mixed[:1] += np.array([value], np.uint64) - lengths[depth - 1 : depth]
    np.add.accumulate(mixed, out=mixed)
    # Without the key of the length, zeros at the end of a prompt would add nothing.
    hashes: BlockHashes = mixed[step - 1 :: step] + lengths[depth:]
    return hashes


def _uint32(tokens: Tokens) -> npt.NDArray[np.uint32]:
    if isinstance(tokens, array) and tokens.typecode == "I":
        return np.frombuffer(tokens, np.uint32) if len(tokens) else np.zeros(0, np.uint32)
    if isinstance(tokens, bytes | bytearray) or (isinstance(tokens, memoryview) and tokens.format == "B"):
        return np.frombuffer(tokens, np.uint32)
    if isinstance(tokens, np.ndarray) and tokens.dtype != np.uint32 and tokens.size:
        least, most = int(tokens.min()), int(tokens.max())
        if least < 0 or most >= 2**32:
            raise ValueError(f"tokens from {least} to {most}: give uint32")
    return np.ascontiguousarray(tokens, np.uint32)
