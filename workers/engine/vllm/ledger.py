"""What this worker has given its vLLM server to hold: blocks and tokens by request, counted as vLLM counts them.

The server's own metrics come once in a while; a request counts here from the moment it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from workers.engine.base import EngineStats, Full, Invalid, Key


class Stage(StrEnum):
    """Where a request is."""

    RESERVED = "reserved"
    PREFILL = "prefill"
    PULL = "pull"
    DECODE = "decode"
    LEASED = "leased"


@dataclass(slots=True)
class Entry:
    """`tokens` of context. `deadline_s` (monotonic) is set while it is reserved or leased."""

    stage: Stage
    tokens: int
    deadline_s: float = 0.0


class Ledger:
    """Entries by key; keeps `stats` up to date."""

    def __init__(self, stats: EngineStats) -> None:
        self.stats = stats
        self._entries: dict[Key, Entry] = {}
        self._foreign_blocks = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def stage(self, key: Key) -> Stage | None:
        entry = self._entries.get(key)
        return entry.stage if entry else None

    def reserve(self, key: Key, tokens: int, deadline_s: float) -> None:
        """Count blocks for `tokens`; raises Invalid where they could never fit, Full where they do not now."""
        blocks, stats = self._blocks(tokens), self.stats
        if blocks > stats.kv_total_blocks:
            raise Invalid(f"{tokens} tokens take {blocks} KV blocks and the server has {stats.kv_total_blocks}")
        if stats.kv_used_blocks + blocks > stats.kv_total_blocks:
            raise Full(f"{blocks} blocks wanted, {stats.kv_total_blocks - stats.kv_used_blocks} free")
        self.enter(key, Stage.RESERVED, tokens, deadline_s)

    def enter(self, key: Key, stage: Stage, tokens: int, deadline_s: float = 0.0) -> None:
        """Put `key` into `stage`, wherever it was."""
        self.leave(key)
        self._entries[key] = entry = Entry(stage, tokens, deadline_s)
        self._count(entry, 1)

    def grow(self, key: Key, tokens: int) -> None:
        """`tokens` more were produced."""
        entry = self._entries[key]
        size, stats = self.stats.block_tokens, self.stats
        more = -(-(entry.tokens + tokens) // size) - -(-entry.tokens // size)
        entry.tokens += tokens
        stats.kv_used_blocks += more
        if entry.stage is Stage.DECODE:
            stats.decode_context_tokens += tokens

    def leave(self, key: Key) -> None:
        """Unknown keys are ignored."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._count(entry, -1)

    def expired(self, now_s: float) -> list[Key]:
        """Keys whose deadline is over."""
        return [key for key, entry in self._entries.items() if entry.deadline_s and entry.deadline_s <= now_s]

    def measured(self, used_blocks: int) -> None:
        """The server says how many blocks it uses: more than we count are somebody else's, such as stranded ones."""
        known = sum(self._blocks(e.tokens) for e in self._entries.values() if e.stage is not Stage.RESERVED)
        foreign = max(0, used_blocks - known)
        self.stats.kv_used_blocks += foreign - self._foreign_blocks
        self._foreign_blocks = foreign

    def check(self) -> None:
        """Recount; raises AssertionError."""
        again = Ledger(EngineStats(block_tokens=self.stats.block_tokens))
        for key, entry in self._entries.items():
            again.enter(key, entry.stage, entry.tokens)
        names = (
            "running",
            "waiting",
            "waiting_prefill_tokens",
            "decode_context_tokens",
            "leased_blocks",
            "reserved_blocks",
        )
        for name in names:
            counted, listed = getattr(self.stats, name), getattr(again.stats, name)
            assert counted == listed, f"{name}: counted {counted}, entries add up to {listed}"
        used = again.stats.kv_used_blocks + self._foreign_blocks
        assert self.stats.kv_used_blocks == used, (
            f"kv_used_blocks: counted {self.stats.kv_used_blocks}, entries add up to {used}"
        )

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.stats.block_tokens)

    def _count(self, entry: Entry, sign: int) -> None:
        stats, blocks = self.stats, sign * self._blocks(entry.tokens)
        stats.kv_used_blocks += blocks
        match entry.stage:
            case Stage.RESERVED:
                stats.reserved_blocks += blocks
            case Stage.LEASED:
                stats.leased_blocks += blocks
            case Stage.PREFILL:
                stats.waiting += sign
                stats.waiting_prefill_tokens += sign * entry.tokens
            case Stage.PULL:
                stats.waiting += sign
            case Stage.DECODE:
                stats.running += sign
                stats.decode_context_tokens += sign * entry.tokens
