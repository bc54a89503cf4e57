"""Blocks that no running request owns: leased to a puller, reserved for a pull, or waiting for a transfer to let go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.engine.base import Key


@dataclass(frozen=True, slots=True)
class Holding:
    """Blocks for `tokens` tokens of context, kept until `deadline_s` of the engine's clock."""

    blocks: tuple[int, ...]
    tokens: int
    deadline_s: float


class Leases:
    """Leases, reservations and pins by key. Freeing the blocks is the caller's part."""

    def __init__(self) -> None:
        self.leased: dict[Key, Holding] = {}
        self.reserved: dict[Key, Holding] = {}
        self._doomed: dict[Key, list[int]] = {}
        self._pins: dict[Key, int] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self.leased or key in self.reserved or key in self._doomed

    @property
    def leased_blocks(self) -> int:
        """Blocks under a lease; shared ones count once per lease."""
        return sum(len(holding.blocks) for holding in self.leased.values())

    @property
    def reserved_blocks(self) -> int:
        """Blocks reserved for a pull, and those whose cancelled pull has not ended."""
        reserved = sum(len(holding.blocks) for holding in self.reserved.values())
        return reserved + sum(len(blocks) for blocks in self._doomed.values())

    def pop(self, key: Key) -> Holding | None:
        """End the lease or reservation of `key`."""
        return self.leased.pop(key, None) or self.reserved.pop(key, None)

    def expired(self, now_s: float) -> list[Key]:
        """Keys whose time is over. A pinned key never expires: a transfer writes into its blocks."""
        holdings = (*self.leased.items(), *self.reserved.items())
        return [key for key, holding in holdings if holding.deadline_s <= now_s and key not in self._pins]

    def pinned(self, key: Key) -> bool:
        """True while a transfer uses the blocks of `key`."""
        return key in self._pins

    def pin(self, key: Key) -> None:
        """Pins nest."""
        self._pins[key] = self._pins.get(key, 0) + 1

    def unpin(self, key: Key) -> list[int]:
        """Take one pin away; returns the blocks that may now be freed. Unknown keys are ignored."""
        left = self._pins.get(key, 0) - 1
        if left > 0:
            self._pins[key] = left
            return []
        self._pins.pop(key, None)
        return self._doomed.pop(key, [])

    def doom(self, key: Key, blocks: Sequence[int]) -> None:
        """Keep `blocks` of a key that is gone until its last pin is."""
        self._doomed.setdefault(key, []).extend(blocks)

    def users(self) -> list[Sequence[int]]:
        """Block lists of all holders, for a recount."""
        holdings = (*self.leased.values(), *self.reserved.values())
        return [*(holding.blocks for holding in holdings), *self._doomed.values()]

    def check(self) -> None:
        """Raises AssertionError when a key is in two places or doomed without a pin."""
        both = self.leased.keys() & self.reserved.keys()
        assert not both, f"leased and reserved at once: {both}"
        assert self._doomed.keys() <= self._pins.keys(), "blocks wait for a pin that is gone"
