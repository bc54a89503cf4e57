"""Which block holds which prefix, and which of those blocks nobody uses, oldest first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from workers.engine.torch.prefix import Prefix


class PrefixCache:
    """Chained block hashes (see `core.hashing`) ↔ blocks. Unreferenced blocks stay here until they are evicted."""

    def __init__(self) -> None:
        self._block_of: dict[int, int] = {}
        self._hash_of: dict[int, int] = {}
        self._proof_of: dict[int, bytes] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._stored: dict[int, None] = {}
        self._removed: dict[int, None] = {}

    @property
    def idle_blocks(self) -> int:
        """Cached blocks without a user."""
        return len(self._idle)

    def match(self, prefix: Prefix) -> list[int]:
        """Blocks of its longest cached head."""
        found: list[int] = []
        for value, proof in zip(prefix.hashes.tolist(), prefix.proofs, strict=True):
            block = self._block_of.get(value)
            if block is None or self._proof_of[block] != proof:
                break
            found.append(block)
        return found

    def store(self, value: int, proof: bytes, block: int) -> None:
        """`block` holds the prefix `value` from now on, unless another block does already (or one whose hash collides)."""
        if value in self._block_of or block in self._hash_of:
            return
        self._block_of[value] = block
        self._hash_of[block] = value
        self._proof_of[block] = proof
        if value in self._removed:
            del self._removed[value]
        else:
            self._stored[value] = None

    def holds(self, block: int) -> bool:
        """True if the content of `block` can be found by its hash."""
        return block in self._hash_of

    def is_idle(self, block: int) -> bool:
        """True if `block` is cached and has no user."""
        return block in self._idle

    def park(self, block: int) -> None:
        """The last user of a cached block left; the block becomes the last to be evicted."""
        self._idle[block] = None

    def use(self, block: int) -> None:
        """A cached block gets a user."""
        self._idle.pop(block, None)

    def evict(self) -> int:
        """Forget the idle block that was parked first and return it."""
        block, _ = self._idle.popitem(last=False)
        value = self._hash_of.pop(block)
        del self._proof_of[block]
        del self._block_of[value]
        if value in self._stored:
            del self._stored[value]
        else:
            self._removed[value] = None
        return block

    def events(self) -> tuple[list[int], list[int]]:
        """Hashes stored and removed since the last call; one that came and went in between is in neither."""
        out = list(self._stored), list(self._removed)
        self._stored.clear()
        self._removed.clear()
        return out

    def hashes(self) -> list[int]:
        """Hashes of all cached blocks, in the order in which they were stored."""
        return list(self._block_of)

    def check(self, references: Iterable[int]) -> None:
        """Recount against `references` (users per block); raises AssertionError."""
        counts = list(references)
        assert {block: value for value, block in self._block_of.items()} == self._hash_of, "cache maps disagree"
        assert self._proof_of.keys() == self._hash_of.keys(), "cached blocks without a proof"
        idle = {block for block in self._hash_of if counts[block] == 0}
        assert idle == set(self._idle), f"idle cached blocks {sorted(self._idle)}, recount {sorted(idle)}"
