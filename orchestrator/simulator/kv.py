"""The KV pool of a simulated worker: counts of blocks, and which prompt blocks can be reused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Holding:
    """Blocks of one request on one worker: `private` ones, and cached ones by their hashes."""

    private: int
    shared: list[int] = field(default_factory=list)

    @property
    def blocks(self) -> int:
        """All of them."""
        return self.private + len(self.shared)


class KvPool:
    """`held` blocks belong to one request each, `_refs` counts the users of cached ones; `_idle` ones have none and may be evicted.

    The oldest idle block goes first. `stored` and `removed` collect what routers must hear of; whoever tells them clears both.
    """

    def __init__(self, total_blocks: int, block_tokens: int, prefix_cache: bool) -> None:
        self.total_blocks = total_blocks
        self.block_tokens = block_tokens
        self.held = 0
        self.peak_blocks = 0
        self.stored: list[int] = []
        self.removed: list[int] = []
        self._caching = prefix_cache
        self._refs: dict[int, int] = {}
        self._idle: dict[int, None] = {}

    @property
    def used_blocks(self) -> int:
        """Blocks that cannot be had; idle cached ones can."""
        return self.held + len(self._refs)

    @property
    def free_blocks(self) -> int:
        """Blocks that can be had; below zero when running requests have outgrown the pool and one must give way."""
        return self.total_blocks - self.held - len(self._refs)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold the KV of `tokens` tokens."""
        return -(-tokens // self.block_tokens)

    def take(self, blocks: int) -> None:
        """Hold `blocks` more, at the cost of idle ones."""
        self.held += blocks
        used = self.held + len(self._refs)
        if used > self.peak_blocks:
            self.peak_blocks = min(used, self.total_blocks)
        while self._idle and used + len(self._idle) > self.total_blocks:
            evicted = next(iter(self._idle))
            del self._idle[evicted]
            self.removed.append(evicted)

    def match(self, hashes: Sequence[int], tokens: int) -> int:
        """Leading blocks that are cached. The last token is always computed, so its block is not among them."""
        if not self._caching:
            return 0
        count = 0
        for value in hashes[: (tokens - 1) // self.block_tokens]:
            if value not in self._refs and value not in self._idle:
                break
            count += 1
        return count

    def revived(self, hashes: Sequence[int]) -> int:
        """How many of these cached blocks nobody uses: sharing them takes as many free blocks."""
        return sum(value in self._idle for value in hashes)

    def share(self, hashes: Sequence[int]) -> list[int]:
        """Use cached blocks."""
        for value in hashes:
            if value in self._idle:
                del self._idle[value]
                self._refs[value] = 1
            else:
                self._refs[value] += 1
        self.peak_blocks = max(self.peak_blocks, min(self.used_blocks, self.total_blocks))
        return list(hashes)

    def remember(self, holding: Holding, hashes: Sequence[int]) -> None:
        """Make private blocks reusable. A block that somebody else computed meanwhile stays private."""
        if not self._caching:
            return
        for value in hashes:
            if value not in self._refs and value not in self._idle:
                self._refs[value] = 1
                holding.shared.append(value)
                holding.private -= 1
                self.held -= 1
                self.stored.append(value)

    def release(self, holding: Holding) -> None:
        """Give back all blocks of a request; those that are cached become idle."""
        self.held -= holding.private
        # Deepest first, so that the beginning of a prefix outlives its end.
        for value in reversed(holding.shared):
            if self._refs[value] == 1:
                del self._refs[value]
                self._idle[value] = None
            else:
                self._refs[value] -= 1

    def clear(self) -> None:
        """Forget everything, as a worker that died."""
        self.held = 0
        self._refs.clear()
        self._idle.clear()
        self.stored.clear()
        self.removed.clear()

    def check(self, private: int, shared: Sequence[Sequence[int]]) -> None:
        """Compare with the blocks that requests say they hold; raises AssertionError."""
        assert self.held == private, f"{self.held} blocks held, requests say {private}"
        refs: dict[int, int] = {}
        for hashes in shared:
            for value in hashes:
                refs[value] = refs.get(value, 0) + 1
        assert refs == self._refs, "references to cached blocks differ from what requests hold"
        assert self.used_blocks <= self.total_blocks, f"{self.used_blocks} of {self.total_blocks} KV blocks in use"
        assert not self._idle.keys() & self._refs.keys()
