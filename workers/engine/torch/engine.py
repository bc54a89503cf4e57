"""One worker's engine: requests in, tokens out, blocks accounted for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from orchestrator.core.hashing import block_hashes
from orchestrator.core.request import BlockHashes
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.policies.multiplexing.base import MultiplexingPolicy
from workers.engine.base import Emission, EngineRequest, EngineStats, Full, Invalid, Key, KvBlocks, Phase
from workers.engine.torch.attention import PagedKv, Span
from workers.engine.torch.blocks import BlockManager
from workers.engine.torch.config import ModelConfig
from workers.engine.torch.leases import Holding, Leases
from workers.engine.torch.model import Decoder
from workers.engine.torch.policy import ArrivalOrder, FixedBudget
from workers.engine.torch.sampler import Sampled, sample
from workers.engine.torch.scheduler import Chunk, Scheduler
from workers.engine.torch.sequence import Running, blocks_for
from workers.transfer.base import KvPool

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchEngine:
    """The engine protocol (`workers.engine.base.Engine`) on plain torch.

    A stop or end token is emitted as the last token. `multiplexing` and `admission` may be replaced between steps.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        kv_blocks: int,
        block_tokens: int = 16,
        max_batch: int = 64,
        prefill_budget_tokens: int = 512,
        max_model_len: int | None = None,
        prefix_cache: bool = True,
        lease_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        num_threads: int | None = None,
    ) -> None:
        """Load the model and allocate the pool. `max_model_len` (prompt and output, tokens) defaults to what model and pool allow.

        Raises Invalid for a model that cannot run, an unknown dtype, or a `max_model_len` that model or pool cannot hold.
        """
        if dtype not in DTYPES:
            raise Invalid(f"dtype {dtype!r} is unknown: use {', '.join(DTYPES)}")
        if min(kv_blocks, block_tokens, max_batch, prefill_budget_tokens) < 1:
            raise Invalid("kv_blocks, block_tokens, max_batch and prefill_budget_tokens must be positive")
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        config = ModelConfig.load(model_dir)
        self.max_model_len = _model_len(max_model_len, config, kv_blocks * block_tokens)
        self.vocab_size = config.vocab_size
        self.eos_token_ids = config.eos_token_ids
        self.multiplexing: MultiplexingPolicy = FixedBudget(prefill_budget_tokens)
        self.admission: AdmissionPolicy = ArrivalOrder()
        self.stats = EngineStats(kv_total_blocks=kv_blocks, block_tokens=block_tokens)
        self._block_tokens = block_tokens
        self._caching = prefix_cache
        self._lease_s = lease_s
        self._clock = clock
        self._eos = frozenset(config.eos_token_ids)
        self._device = torch.device(device)
        with torch.inference_mode():
            self._model = Decoder.load(model_dir, self._device, DTYPES[dtype], self.max_model_len)
        shape = (kv_blocks, config.layers, 2, block_tokens, config.kv_heads, config.head_dim)
        # Made outside inference mode: transports write into the pool from threads that are not in it.
        data = torch.zeros(shape, dtype=DTYPES[dtype], device=self._device)
        self._kv = PagedKv(data)
        self.pool = KvPool(data, torch.zeros(kv_blocks, dtype=torch.int64))
        self._blocks = BlockManager(kv_blocks, self.pool.generations, prefix_cache)
        self._leases = Leases()
        self._scheduler = Scheduler(self._blocks, block_tokens, max_batch, self._leases.pinned, self._forget)
        self._live: dict[Key, Running] = {}
        self._arrivals = 0

    def submit(self, request: EngineRequest) -> None:
        """Queue a request; raises Invalid."""
        self._check(request)
        sequence = self._sequence(request, self._hash(request.tokens))
        self._live[request.key] = sequence
        self._scheduler.enqueue(sequence)
        self._count()

    def reserve(self, key: Key, tokens: int) -> KvBlocks:
        """Fresh blocks for `tokens` tokens of context; raises Full, or Invalid if they can never be had."""
        if key in self._live or key in self._leases:
            raise Invalid(f"{key} is already known")
        if not 0 < tokens < self.max_model_len:
            raise Invalid(f"a context of {tokens} tokens: this worker takes 1 to {self.max_model_len - 1}")
        count = blocks_for(tokens, self._block_tokens)
        # The same reserve as admission keeps: a new context must not push out the requests that are running.
        free = self._blocks.available_blocks - len(self._scheduler.running)
        if count > free:
            raise Full(f"{count} blocks wanted, {max(free, 0)} free")
        blocks = self._blocks.take(count)
        self._leases.reserved[key] = Holding(tuple(blocks), tokens, self._clock() + self._lease_s)
        self._count()
        return self._blocks.describe(blocks, tokens)

    def reserved(self, key: Key) -> KvBlocks:
        """The blocks that `reserve` gave to `key`; raises KeyError."""
        holding = self._leases.reserved[key]
        return self._blocks.describe(holding.blocks, holding.tokens)

    def attach(self, request: EngineRequest, kv_tokens: int) -> None:
        """Start decoding on reserved blocks; raises KeyError without a reservation and Invalid (the reservation stays)."""
        holding = self._leases.reserved[request.key]
        self._check(request, attaching=True)
        if not 0 <= kv_tokens <= min(holding.tokens, len(request.tokens) - 1):
            raise Invalid(
                f"kv_tokens {kv_tokens} does not fit {holding.tokens} reserved, {len(request.tokens)} given tokens"
            )
        del self._leases.reserved[request.key]
        sequence = self._sequence(request, self._hash(request.tokens))
        sequence.blocks.extend(holding.blocks)
        sequence.computed = kv_tokens
        sequence.admitted = True
        self._remember(sequence)
        self._live[request.key] = sequence
        self._scheduler.ready.append(sequence)
        self._count()

    def release(self, key: Key) -> None:
        """Give the blocks of a lease back. Unknown keys are ignored."""
        if key in self._leases.leased:
            self._free(key, self._leases.leased.pop(key).blocks)
            self._count()

    def cancel(self, key: Key) -> None:
        """Forget `key` whatever its state. Unknown keys are ignored."""
        if sequence := self._live.get(key):
            self._scheduler.remove(sequence)
            self._close(sequence)
        elif holding := self._leases.pop(key):
            self._free(key, holding.blocks)
        self._count()

    def pin(self, key: Key) -> None:
        """Keep the blocks of `key` until `unpin`, whatever happens to it; raises KeyError if it has none."""
        if key not in self._leases and not (key in self._live and self._live[key].blocks):
            raise KeyError(key)
        self._leases.pin(key)

    def unpin(self, key: Key) -> None:
        """Undo one `pin`. Unknown keys are ignored."""
        self._blocks.drop(self._leases.unpin(key))
        self._count()

    def expire(self, now_s: float) -> list[Key]:
        """Free leases and reservations whose time is over; returns their keys."""
        keys = self._leases.expired(now_s)
        for key in keys:
            self.stats.lease_expiries += key in self._leases.leased
            holding = self._leases.pop(key)
            assert holding is not None
            self._free(key, holding.blocks)
        if keys:
            self._count()
        return keys

    def step(self) -> list[Emission]:
        """Run one iteration; empty when there is nothing to run."""
        started = time.perf_counter()
        chunks = self._scheduler.schedule(self.multiplexing, self.admission)
        emissions = []
        if chunks:
            self._account_admitted(chunks)
            sampled = self._compute(chunks)
            for chunk in chunks:
                chunk.sequence.computed = chunk.end
                self._remember(chunk.sequence)
            ended = [chunk.sequence for chunk in chunks if chunk.end == len(chunk.sequence.tokens)]
            emissions = [self._emit(s, token) for s, token in zip(ended, sampled, strict=True)]
            self.stats.steps += 1
            self.stats.step_time_s = time.perf_counter() - started
        self._count()
        return emissions

    def has_work(self) -> bool:
        """True if `step` would compute something."""
        return self._scheduler.has_work(self.admission)

    def cache_events(self) -> tuple[list[int], list[int]]:
        """Prefix block hashes stored and removed since the last call."""
        return self._blocks.events()

    def check_integrity(self) -> None:
        """Recount every block, queue and statistic; raises AssertionError."""
        scheduler, stats = self._scheduler, self.stats
        queued = (*scheduler.waiting, *scheduler.ready, *scheduler.running)
        assert len(queued) == len(self._live), f"{len(queued)} requests queued, {len(self._live)} live"
        assert {s.key: s for s in queued} == self._live, "a request is in no queue or in two"
        assert all(not s.blocks for s in scheduler.waiting), "a waiting request owns blocks"
        for s in queued:
            assert len(s.blocks) >= blocks_for(s.computed, self._block_tokens), f"{s.key} lacks blocks for its KV"
            assert 0 <= s.computed < len(s.tokens), f"{s.key} computed {s.computed} of {len(s.tokens)} tokens"
        assert scheduler.waiting_tokens == sum(len(s.tokens) for s in scheduler.waiting), "waiting tokens differ"
        self._leases.check()
        users = [*(s.blocks for s in queued), *self._leases.users()]
        self._blocks.check(users)
        used = len({block for blocks in users for block in blocks})
        assert stats.kv_used_blocks == used, f"stats say {stats.kv_used_blocks} blocks used, recount {used}"
        assert stats.running == len(scheduler.running) and stats.waiting == len(queued) - stats.running, "queue stats"
        assert stats.leased_blocks == self._leases.leased_blocks, "leased_blocks differs"
        assert stats.reserved_blocks == self._leases.reserved_blocks, "reserved_blocks differs"

    @torch.inference_mode()
    def _compute(self, chunks: list[Chunk]) -> list[Sampled]:
        """Run the model over `chunks` and sample for those that reach their last token, in order."""
        tokens = np.array([t for c in chunks for t in c.sequence.tokens[c.start : c.end]], np.int64)
        positions = np.concatenate([np.arange(c.start, c.end) for c in chunks])
        ends = np.cumsum([c.end - c.start for c in chunks]) - 1
        plan = self._kv.plan([Span(c.sequence.block_table(), c.start, c.end) for c in chunks])
        hidden = self._model.forward(self._put(tokens), self._put(positions), plan, self._kv)
        last = [i for i, c in enumerate(chunks) if c.end == len(c.sequence.tokens)]
        if not last:
            return []
        rows = hidden if len(last) == len(hidden) else hidden.index_select(0, self._put(ends[last]))
        done = [chunks[i].sequence for i in last]
        return sample(self._model.logits(rows), [s.request.sampling for s in done], [s.next_index for s in done])

    def _emit(self, sequence: Running, sampled: Sampled) -> Emission:
        token = sampled.token
        sequence.tokens.append(token)
        finish = sequence.finish_of(token, self._eos, self.max_model_len)
        emission = Emission(sequence.key, sequence.next_index, [token], finish=finish)
        if sampled.logprobs is not None:
            emission.logprobs.append(sampled.logprobs)
        if sequence.next_index == sequence.request.first_index:
            emission.cached_tokens = sequence.cached_tokens
        sequence.next_index += 1
        self.stats.generated_tokens += 1
        if finish is not None:
            self._scheduler.remove(sequence)
            self._close(sequence)
        elif sequence.request.phase is Phase.PREFILL:
            emission.lease = self._lease(sequence)
        return emission

    def _lease(self, sequence: Running) -> KvBlocks:
        self._scheduler.remove(sequence)
        del self._live[sequence.key]
        blocks = tuple(sequence.blocks)
        self._leases.leased[sequence.key] = Holding(blocks, sequence.computed, self._clock() + self._lease_s)
        return self._blocks.describe(blocks, sequence.computed)

    def _forget(self, sequence: Running) -> None:
        """Take the blocks away. Full ones stay in the prefix cache with what was generated, so a recomputation may find them."""
        if self._caching:
            sequence.hashes = self._hash(sequence.tokens)
            self._remember(sequence)
        self._free(sequence.key, sequence.blocks)
        del sequence.blocks[:]
        sequence.computed = sequence.remembered = 0

    def _close(self, sequence: Running) -> None:
        del self._live[sequence.key]
        self._forget(sequence)

    def _free(self, key: Key, blocks: Sequence[int]) -> None:
        if self._leases.pinned(key):
            self._leases.doom(key, blocks)
        else:
            self._blocks.drop(blocks)

    def _remember(self, sequence: Running) -> None:
        full = min(sequence.computed // self._block_tokens, len(sequence.hashes))
        if full > sequence.remembered:
            self._blocks.remember(sequence.hashes[:full], sequence.blocks, sequence.remembered)
            sequence.remembered = full

    def _account_admitted(self, chunks: list[Chunk]) -> None:
        for sequence in (chunk.sequence for chunk in chunks if not chunk.sequence.admitted):
            sequence.admitted = True
            sequence.cached_tokens = sequence.computed
            self.stats.prompt_tokens += len(sequence.tokens)
            self.stats.cached_prompt_tokens += sequence.computed

    def _count(self) -> None:
        scheduler, stats = self._scheduler, self.stats
        stats.running = len(scheduler.running)
        stats.waiting = len(scheduler.waiting) + len(scheduler.ready)
        stats.waiting_prefill_tokens = scheduler.prefill_tokens()
        stats.decode_context_tokens = scheduler.decode_context_tokens()
        stats.kv_used_blocks = self._blocks.used_blocks
        stats.leased_blocks = self._leases.leased_blocks
        stats.reserved_blocks = self._leases.reserved_blocks
        stats.preemptions = scheduler.preemptions

    def _sequence(self, request: EngineRequest, hashes: BlockHashes) -> Running:
        self._arrivals += 1
        return Running(request, self._arrivals, self._clock(), list(request.tokens), hashes, request.first_index)

    def _hash(self, tokens: Sequence[int]) -> BlockHashes:
        return block_hashes(tokens if self._caching else (), self._block_tokens)

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)

    def _check(self, request: EngineRequest, attaching: bool = False) -> None:
        count, sampling = len(request.tokens), request.sampling
        if request.key in self._live or (request.key in self._leases and not attaching):
            raise Invalid(f"{request.key} is already known")
        if not 0 < count < self.max_model_len:
            raise Invalid(f"a prompt of {count} tokens: this worker takes 1 to {self.max_model_len - 1}")
        tokens = np.asarray(request.tokens)
        if tokens.min() < 0 or tokens.max() >= self.vocab_size:
            raise Invalid(f"a token id is outside 0 to {self.vocab_size - 1}")
        if not 0 <= request.first_index < sampling.max_tokens:
            raise Invalid(f"first_index {request.first_index} leaves nothing of max_tokens {sampling.max_tokens}")


def _model_len(wanted: int | None, config: ModelConfig, pool_tokens: int) -> int:
    limit = min(config.max_position_tokens, pool_tokens)
    if wanted is None:
        return limit
    if wanted > config.max_position_tokens:
        raise Invalid(f"max_model_len {wanted} exceeds the model's {config.max_position_tokens} positions")
    if wanted > pool_tokens:
        raise Invalid(f"max_model_len {wanted} exceeds the pool's {pool_tokens} tokens: raise kv_blocks")
    return wanted
