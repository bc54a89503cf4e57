"""Which prompt prefixes the server's cache holds, under the hashes that routers use (core.hashing).

Told by the server's KV events, or, where it sends none, assumed: what it has computed it holds, the least recently used goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from orchestrator.core.hashing import block_hashes, continued_hashes


class Prefixes(Protocol):
    """Changes are collected until somebody asks."""

    def changes(self) -> tuple[list[int], list[int]]:
        """Hashes stored and removed since the last call."""

    def stored(self) -> list[int]:
        """All that are stored now."""

    def computed(self, prompt: Sequence[int]) -> None:
        """The server has computed a prompt."""


class _Changes:
    def __init__(self) -> None:
        self._added: dict[int, None] = {}
        self._gone: dict[int, None] = {}

    def add(self, value: int) -> None:
        if value in self._gone:
            del self._gone[value]
        else:
            self._added[value] = None

    def remove(self, value: int) -> None:
        if value in self._added:
            del self._added[value]
        else:
            self._gone[value] = None

    def take(self) -> tuple[list[int], list[int]]:
        taken = list(self._added), list(self._gone)
        self._added, self._gone = {}, {}
        return taken


class ToldPrefixes:
    """Follows events. A block whose parent is not known is not taken in: its prefix cannot be named."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._ours: dict[Hashable, tuple[int, int]] = {}
        """The server's hash → ours, and how many blocks the prefix has."""
        self._changes = _Changes()

    def block_stored(
        self, hashes: Sequence[Hashable], parent: Hashable | None, tokens: Sequence[int], size: int
    ) -> None:
        """`hashes` of consecutive blocks of `size` tokens that follow `parent`, None at the start of a prompt."""
        if size != self._block_tokens or len(tokens) < size * len(hashes):
            return
        before = (0, 0) if parent is None else self._ours.get(parent)
        if before is None:
            return
        value, depth = before
        following = continued_hashes(value, depth, tokens[: size * len(hashes)], size).tolist()
        for theirs, ours in zip(hashes, following, strict=True):
            depth += 1
            if theirs not in self._ours:
                self._ours[theirs] = (ours, depth)
                self._changes.add(ours)

    def block_removed(self, hashes: Iterable[Hashable]) -> None:
        for theirs in hashes:
            found = self._ours.pop(theirs, None)
            if found is not None:
                self._changes.remove(found[0])

    def all_cleared(self) -> None:
        """The cache is empty, or what is in it is not known any more."""
        self.block_removed(list(self._ours))

    def changes(self) -> tuple[list[int], list[int]]:
        return self._changes.take()

    def stored(self) -> list[int]:
        return [ours for ours, _ in self._ours.values()]

    def computed(self, prompt: Sequence[int]) -> None:
        """The events will tell."""


class AssumedPrefixes:
    """For a server without events. `most_blocks` is what its cache can hold."""

    def __init__(self, block_tokens: int, most_blocks: int) -> None:
        self._block_tokens = block_tokens
        self._most_blocks = most_blocks
        self._held: OrderedDict[int, None] = OrderedDict()
        self._changes = _Changes()

    def computed(self, prompt: Sequence[int]) -> None:
        # The end of a prefix first, so that its start is the most recently used: vLLM, too, drops ends first.
        for value in reversed(block_hashes(prompt, self._block_tokens).tolist()):
            if value in self._held:
                self._held.move_to_end(value)
            else:
                self._held[value] = None
                self._changes.add(value)
        while len(self._held) > self._most_blocks:
            self._changes.remove(self._held.popitem(last=False)[0])

    def changes(self) -> tuple[list[int], list[int]]:
        return self._changes.take()

    def stored(self) -> list[int]:
        return list(self._held)
