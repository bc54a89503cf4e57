"""The identity of a prompt's blocks: a hash that routers know them by, and a proof that only equal tokens share."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from orchestrator.core.hashing import block_hashes
from orchestrator.core.request import BlockHashes


class Prefix(NamedTuple):
    """Entry i of both stands for tokens [0, (i + 1) * block_tokens).

    Whoever knows the key of the hashes can make two prompts collide; `proofs` are chained BLAKE2b digests, so KV is never served
    for tokens that it was not computed from.
    """

    hashes: BlockHashes
    proofs: list[bytes]

    @property
    def blocks(self) -> int:
        """Full blocks."""
        return len(self.proofs)

    def head(self, blocks: int) -> Prefix:
        """The first `blocks` of them."""
        return Prefix(self.hashes[:blocks], self.proofs[:blocks])


def prefix_of(tokens: Sequence[int], block_tokens: int) -> Prefix:
    """About 1 µs per block."""
    words = array("I", tokens)
    data, size = words.tobytes(), block_tokens * words.itemsize
    proofs, parent = [], b""
    for end in range(size, len(data) + 1, size):
        parent = blake2b(parent + data[end - size : end], digest_size=16).digest()
        proofs.append(parent)
    return Prefix(block_hashes(words, block_tokens), proofs)
