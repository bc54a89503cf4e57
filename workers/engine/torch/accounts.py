"""Statistics of an engine, and the recount that holds them and the blocks to the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.engine.base import EngineStats, Key
from workers.engine.torch.blocks import BlockManager
from workers.engine.torch.leases import Leases
from workers.engine.torch.scheduler import Scheduler
from workers.engine.torch.sequence import Running, blocks_for


@dataclass(frozen=True, slots=True)
class Accounts:
    """Everything that owns blocks or requests; `live` are the requests by key."""

    stats: EngineStats
    live: Mapping[Key, Running]
    scheduler: Scheduler
    blocks: BlockManager
    leases: Leases

    def refresh(self) -> None:
        """Bring the gauges of `stats` up to date."""
        stats, scheduler = self.stats, self.scheduler
        stats.running = len(scheduler.running)
        stats.waiting = len(scheduler.waiting) + len(scheduler.ready)
        stats.waiting_prefill_tokens = scheduler.prefill_tokens()
        stats.decode_context_tokens = scheduler.decode_context_tokens()
        stats.kv_used_blocks = self.blocks.used_blocks
        stats.leased_blocks = self.leases.leased_blocks
        stats.reserved_blocks = self.leases.reserved_blocks
        stats.preemptions = scheduler.preemptions

    def check(self) -> None:
        """Recount; raises AssertionError naming the first difference."""
        stats, scheduler, block_tokens = self.stats, self.scheduler, self.stats.block_tokens
        queued = (*scheduler.waiting, *scheduler.ready, *scheduler.running)
        assert len(queued) == len(self.live), f"{len(queued)} requests queued, {len(self.live)} live"
        assert {s.key: s for s in queued} == self.live, "a request is in no queue or in two"
        assert all(not s.blocks for s in scheduler.waiting), "a waiting request owns blocks"
        for s in queued:
            assert len(s.blocks) >= blocks_for(s.computed, block_tokens), f"{s.key} lacks blocks for its KV"
            assert 0 <= s.computed < len(s.tokens), f"{s.key} computed {s.computed} of {len(s.tokens)} tokens"
        assert scheduler.waiting_tokens == sum(len(s.tokens) for s in scheduler.waiting), "waiting tokens differ"
        self.leases.check()
        users = [*(s.blocks for s in queued), *self.leases.users()]
        self.blocks.check(users)
        used = len({block for blocks in users for block in blocks})
        assert stats.kv_used_blocks == used, f"stats say {stats.kv_used_blocks} blocks used, recount {used}"
        assert stats.running == len(scheduler.running), f"stats say {stats.running} running"
        assert stats.waiting == len(queued) - stats.running, f"stats say {stats.waiting} waiting"
        assert stats.leased_blocks == self.leases.leased_blocks, f"stats say {stats.leased_blocks} leased"
        assert stats.reserved_blocks == self.leases.reserved_blocks, f"stats say {stats.reserved_blocks} reserved"
