"""One worker's engine: requests in, tokens out, blocks accounted for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from orchestrator.core.sampling import Finish
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.policies.multiplexing.base import MultiplexingPolicy
from workers.engine.base import Emission, EngineRequest, EngineStats, Full, Invalid, Key, KvBlocks, Phase
from workers.engine.torch.accounts import Accounts
from workers.engine.torch.blocks import BlockManager
from workers.engine.torch.config import ModelConfig
from workers.engine.torch.grammar import Grammars
from workers.engine.torch.leases import Holding, Leases
from workers.engine.torch.limits import Limits
from workers.engine.torch.model import Decoder
from workers.engine.torch.policy import ArrivalOrder, FixedBudget
from workers.engine.torch.prefix import Prefix, prefix_of
from workers.engine.torch.prompt_scores import PromptScores
from workers.engine.torch.runner import Runner
from workers.engine.torch.sampler import Sampled
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
        self._limits = Limits.of(config, kv_blocks * block_tokens, max_model_len)
        self.max_model_len = self._limits.max_model_len
        self.vocab_size = config.vocab_size
        self.eos_token_ids = config.eos_token_ids
        self.multiplexing: MultiplexingPolicy = FixedBudget(prefill_budget_tokens)
        self.admission: AdmissionPolicy = ArrivalOrder()
        self.stats = EngineStats(kv_total_blocks=kv_blocks, block_tokens=block_tokens)
        shape = (kv_blocks, config.layers, 2, block_tokens, config.kv_heads, config.head_dim)
        # Never an inference tensor: transports write into the pool from threads that are not in inference mode.
        data = torch.zeros(shape, dtype=DTYPES[dtype], device=torch.device(device))
        self.pool = KvPool(data, torch.zeros(kv_blocks, dtype=torch.int64))
        self._runner = Runner(Decoder.load(model_dir, data.device, data.dtype, self.max_model_len), data)
        self._block_tokens = block_tokens
        self._caching = prefix_cache
        self._lease_s = lease_s
        self._clock = clock
        self._eos = frozenset(config.eos_token_ids)
        self._arrivals = 0
        self._live: dict[Key, Running] = {}
        self.grammars = Grammars(model_dir, config.vocab_size, config.eos_token_ids)
        self._leases = Leases()
        self._blocks = BlockManager(kv_blocks, self.pool.generations, prefix_cache)
        self._scheduler = Scheduler(self._blocks, block_tokens, max_batch, self._leases.pinned, self._forget)
        self._accounts = Accounts(self.stats, self._live, self._scheduler, self._blocks, self._leases)

    def submit(self, request: EngineRequest) -> None:
        """Queue a request; raises Invalid."""
        if request.key in self._live or request.key in self._leases:
            raise Invalid(f"{request.key} is already known")
        self._limits.check(request)
        sequence = self._sequence(request)
        top = request.sampling.prompt_logprobs
        if top is not None and request.first_index == 0:  # a later attempt has reported them
            sequence.scores = PromptScores(len(request.tokens), top)
        self._live[request.key] = sequence
        self._scheduler.enqueue(sequence)
        self._accounts.refresh()

    def reserve(self, key: Key, tokens: int) -> KvBlocks:
        """Fresh blocks for `tokens` tokens of context; raises Full, or Invalid if they can never be had."""
        if key in self._live or key in self._leases:
            raise Invalid(f"{key} is already known")
        self._limits.check_context(tokens)
        count = blocks_for(tokens, self._block_tokens)
        free = self._scheduler.spare_blocks()
        if count > free:
            raise Full(f"{count} blocks wanted, {max(free, 0)} free")
        blocks = self._blocks.take(count)
        self._leases.reserved[key] = Holding(tuple(blocks), tokens, self._clock() + self._lease_s)
        self._accounts.refresh()
        return self._blocks.describe(blocks, tokens)

    def reserved(self, key: Key) -> KvBlocks:
        """The blocks that `reserve` gave to `key`; raises KeyError."""
        holding = self._leases.reserved[key]
        return self._blocks.describe(holding.blocks, holding.tokens)

    def attach(self, request: EngineRequest, kv_tokens: int) -> None:
        """Start decoding on reserved blocks; raises KeyError without a reservation and Invalid (the reservation stays)."""
        holding = self._leases.reserved[request.key]
        self._limits.check(request)
        if not 0 <= kv_tokens <= min(holding.tokens, len(request.tokens) - 1):
            raise Invalid(
                f"kv_tokens {kv_tokens} does not fit {holding.tokens} reserved, {len(request.tokens)} given tokens"
            )
        sequence = self._sequence(request)
        del self._leases.reserved[request.key]
        sequence.blocks.extend(holding.blocks)
        sequence.computed = kv_tokens
        sequence.admitted = True
        self._remember(sequence)
        self._live[request.key] = sequence
        self._scheduler.ready.append(sequence)
        self._accounts.refresh()

    def release(self, key: Key) -> None:
        """Give the blocks of a lease back. Unknown keys are ignored."""
        if key in self._leases.leased:
            self._free(key, self._leases.leased.pop(key).blocks)
            self._accounts.refresh()

    def cancel(self, key: Key) -> None:
        """Forget `key` whatever its state. Unknown keys are ignored."""
        if sequence := self._live.get(key):
            self._scheduler.remove(sequence)
            self._close(sequence)
        elif holding := self._leases.pop(key):
            self._free(key, holding.blocks)
        self._accounts.refresh()

    def pin(self, key: Key) -> None:
        """Keep the blocks of `key` until `unpin`, whatever happens to it; raises KeyError if it has none."""
        if key not in self._leases and not (key in self._live and self._live[key].blocks):
            raise KeyError(key)
        self._leases.pin(key)

    def unpin(self, key: Key) -> None:
        """Undo one `pin`. Unknown keys are ignored."""
        self._blocks.drop(self._leases.unpin(key))
        self._accounts.refresh()

    def expire(self, now_s: float) -> list[Key]:
        """Free leases and reservations whose time is over; returns their keys."""
        keys = self._leases.expired(now_s)
        for key in keys:
            self.stats.lease_expiries += key in self._leases.leased
            holding = self._leases.pop(key)
            assert holding is not None
            self._free(key, holding.blocks)
        if keys:
            self._accounts.refresh()
        return keys

    def step(self) -> list[Emission]:
        """Run one iteration; empty when there is nothing to run."""
        started = time.perf_counter()
        chunks = self._scheduler.schedule(self.multiplexing, self.admission)
        emissions = []
        if chunks:
            self._account_admitted(chunks)
            sampled = self._runner.run(chunks)
            for chunk in chunks:
                chunk.sequence.computed = chunk.end
                self._remember(chunk.sequence)
            emissions = [self._emit(sequence, token) for sequence, token in sampled]
            self.stats.steps += 1
            self.stats.step_time_s = time.perf_counter() - started
        self._accounts.refresh()
        return emissions

    def has_work(self) -> bool:
        """True if `step` would compute something."""
        return self._scheduler.has_work(self.admission)

    def kv_layout(self) -> str:
        """Names of the KV pool's dimensions, and their sizes."""
        return "block, layer, 2, token, kv_head, head_dim = " + ", ".join(map(str, self.pool.data.shape))

    def cache_events(self) -> tuple[list[int], list[int]]:
        """Prefix block hashes stored and removed since the last call."""
        return self._blocks.events()

    def cached_hashes(self) -> list[int]:
        """Prefix block hashes that are stored now."""
        return self._blocks.cached_hashes()

    def check_integrity(self) -> None:
        """Recount every block, queue and statistic; raises AssertionError."""
        self._accounts.check()

    def _emit(self, sequence: Running, sampled: Sampled) -> Emission:
        token = sampled.token
        if sequence.matcher is not None and not sequence.matcher.accept((token,)):
            return self._fail(sequence, f"the output cannot be kept to its grammar: {sequence.matcher.error}")
        sequence.tokens.append(token)
        finish = sequence.finish_of(token, self._eos, self.max_model_len)
        emission = Emission(sequence.key, sequence.next_index, [token], finish=finish)
        if sampled.logprobs is not None:
            emission.logprobs.append(sampled.logprobs)
        if sequence.prefilling:
            sequence.prefilling, emission.prefilled = False, True
            emission.cached_tokens = sequence.cached_tokens
            if sequence.scores is not None:
                emission.prompt_logprobs, sequence.scores = sequence.scores.entries, None
        sequence.next_index += 1
        self.stats.generated_tokens += 1
        if finish is not None:
            self._scheduler.remove(sequence)
            self._close(sequence)
        elif sequence.request.phase is Phase.PREFILL:
            emission.lease = self._lease(sequence)
        return emission

    def _fail(self, sequence: Running, error: str) -> Emission:
        self._scheduler.remove(sequence)
        self._close(sequence)
        return Emission(sequence.key, sequence.next_index, finish=Finish.ERROR, error=error)

    def _lease(self, sequence: Running) -> KvBlocks:
        self._scheduler.remove(sequence)
        del self._live[sequence.key]
        blocks = tuple(sequence.blocks)
        self._leases.leased[sequence.key] = Holding(blocks, sequence.computed, self._clock() + self._lease_s)
        return self._blocks.describe(blocks, sequence.computed)

    def _forget(self, sequence: Running) -> None:
        """Take the blocks away. Full ones stay in the prefix cache with what was generated, so a recomputation may find them."""
        if self._caching and sequence.blocks:
            sequence.prefix = self._prefix(sequence.tokens)
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
        full = min(sequence.computed // self._block_tokens, sequence.prefix.blocks)
        if full > sequence.remembered:
            self._blocks.remember(sequence.prefix.head(full), sequence.blocks, sequence.remembered)
            sequence.remembered = full

    def _account_admitted(self, chunks: list[Chunk]) -> None:
        for sequence in (chunk.sequence for chunk in chunks if not chunk.sequence.admitted):
            sequence.admitted = sequence.prefilling = True
            sequence.cached_tokens = sequence.computed
            self.stats.prompt_tokens += len(sequence.tokens)
            self.stats.cached_prompt_tokens += sequence.computed

    def _sequence(self, request: EngineRequest) -> Running:
        self._arrivals += 1
        tokens, prefix = list(request.tokens), self._prefix(request.tokens)
        sequence = Running(request, self._arrivals, self._clock(), tokens, prefix, request.first_index)
        sequence.matcher = self.grammars.matcher(request.sampling, tokens[len(tokens) - request.first_index :])
        return sequence

    def _prefix(self, tokens: Sequence[int]) -> Prefix:
        return prefix_of(tokens if self._caching else (), self._block_tokens)
