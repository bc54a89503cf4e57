"""The engine protocol: one worker's model, KV blocks and batch. All methods run on the engine thread and none blocks but `step`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from orchestrator.core.sampling import Finish, Sampling


class Phase(StrEnum):
    """What this worker does for a request."""

    BOTH = "both"  # prefill and decode here
    PREFILL = "prefill"  # compute KV and the first token, then hold the blocks under a lease


@dataclass(frozen=True, slots=True)
class Key:
    """One attempt of one request. A newer attempt is a different key."""

    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Work for an engine.

    `tokens` are the prompt and, when a request continues elsewhere, the tokens already emitted; the first token sampled
    has output index `first_index` (= tokens already emitted), and `sampling.max_tokens` counts from index 0.
    """

    key: Key
    tokens: Sequence[int]
    first_index: int
    sampling: Sampling
    phase: Phase = Phase.BOTH


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probability of a sampled token and of the most likely ones, best first."""

    logprob: float
    top_ids: tuple[int, ...] = ()
    top_logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class KvBlocks:
    """Blocks that hold the KV of `tokens` tokens: pool indices in order and the generation each had when it was leased.

    An engine that moves KV by its own means names them in `handoff`, in its own words.
    """

    blocks: tuple[int, ...]
    generations: tuple[int, ...]
    tokens: int
    handoff: bytes = b""


class TransferError(Exception):
    """A pull failed: the peer is gone, the connection broke, or `GenerationMismatch`."""


@dataclass(frozen=True, slots=True)
class PullResult:
    """Outcome of one pull. `error` is None on success; `seconds` covers queueing in the transfer thread and the copy."""

    bytes: int
    descriptors: int
    seconds: float
    error: TransferError | None = None


@dataclass(slots=True)
class Emission:
    """What one step did for one request. `lease` is set when a prefill-only request ended and its blocks wait to be pulled.

    `prefilled` marks the token with which the prefill of a submitted request ends, whatever its index: a later attempt goes on where
    the one before was lost. `prompt_logprobs` come with output token 0 from the worker that prefills, for the prompt's tokens from the
    second on. A request whose grammar cannot go on ends with `Finish.ERROR`, no token and `error`. `pulled` comes with the first token
    after an engine's own pull; `refusal` (code, text) gives the request back to its front door.
    """

    key: Key
    first_index: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish: Finish | None = None
    lease: KvBlocks | None = None
    error: str = ""
    prefilled: bool = False
    cached_tokens: int = 0
    prompt_logprobs: Sequence[TokenLogprobs] = ()
    pulled: PullResult | None = None
    refusal: tuple[str, str] | None = None


@dataclass(slots=True)
class EngineStats:
    """Load of an engine, cheap to read after every step. Times in seconds, `steps` counts since start."""

    running: int = 0
    waiting: int = 0
    waiting_prefill_tokens: int = 0
    decode_context_tokens: int = 0
    kv_used_blocks: int = 0
    kv_total_blocks: int = 0
    leased_blocks: int = 0
    reserved_blocks: int = 0
    block_tokens: int = 16
    steps: int = 0
    step_time_s: float = 0.0
    preemptions: int = 0
    lease_expiries: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    generated_tokens: int = 0


class Full(Exception):
    """Not enough free blocks now; the caller tries another worker or waits."""


class Invalid(Exception):
    """The request can never run here (too long for the model or the pool)."""


class Engine(Protocol):
    """A worker's engine.

    Prefill side of a handoff: `submit(phase=PREFILL)`; a step emits the first token with `lease`, and the blocks stay leased until
    `release(key)` or until the lease runs out (`expire`). If the first token ends the request there is no lease.

    Decode side: `reserve(key, tokens)` takes blocks for a context of `tokens`. Then the KV comes: see PooledEngine and PullingEngine.

    `cancel(key)` frees everything of a key in any state.
    """

    stats: EngineStats

    def kv_layout(self) -> str:
        """Names of the KV pool's dimensions and their sizes, such as "block, layer, 2, token, kv_head, head_dim = 64, 4, 2, 16, 2, 32"."""

    def submit(self, request: EngineRequest) -> None:
        """Queue a request; raises Invalid, also for a grammar that cannot be enforced. A full pool only makes it wait."""

    def reserve(self, key: Key, tokens: int) -> KvBlocks:
        """Blocks for `tokens` tokens of context; raises Full or Invalid. Reserved blocks are never preempted."""

    def release(self, key: Key) -> None:
        """The lease of `key` was pulled: give its blocks back (or to the prefix cache). Unknown keys are ignored."""

    def cancel(self, key: Key) -> None:
        """Forget `key` whatever its state. Unknown keys are ignored."""

    def expire(self, now_s: float) -> list[Key]:
        """Free leases and reservations whose time is over (monotonic clock); returns their keys."""

    def step(self) -> list[Emission]:
        """Run one iteration; returns what it produced. Empty when there is nothing to run."""

    def has_work(self) -> bool:
        """True if `step` would compute something."""

    def check_integrity(self) -> None:
        """Recount every block; raises AssertionError naming the first difference."""

    def cache_events(self) -> tuple[list[int], list[int]]:
        """Prefix block hashes (core.hashing) stored and removed since the last call."""

    def cached_hashes(self) -> list[int]:
        """Prefix block hashes that are stored now, for somebody who has heard none of the events."""


@runtime_checkable
class PooledEngine(Engine, Protocol):
    """An engine whose blocks a transport fills.

    `reserve` gives blocks, as one run where possible; the transport fills them; `attach(request, kv_tokens)` starts decoding.
    `request.tokens` is then context + first token, whose KV is not computed yet, `first_index` counts that token as emitted, and
    `kv_tokens` is the number of tokens whose KV was pulled. Blocks that a transfer writes are protected by `pin`: a key cancelled
    while pinned frees its blocks at `unpin`.
    """

    def reserved(self, key: Key) -> KvBlocks:
        """The blocks that `reserve` gave to `key`; raises KeyError."""

    def attach(self, request: EngineRequest, kv_tokens: int) -> None:
        """Start decoding on blocks reserved for `request.key`; raises KeyError if there is no reservation."""

    def pin(self, key: Key) -> None: ...
    def unpin(self, key: Key) -> None: ...


@runtime_checkable
class PullingEngine(Engine, Protocol):
    """An engine that moves KV by its own means, which `KvBlocks.handoff` tells. `reserve` only counts."""

    @property
    def pulls(self) -> tuple[int, int, int]:
        """Bytes pulled, pulls, failed pulls since start."""

    def pull(self, request: EngineRequest, source: KvBlocks) -> None:
        """Pull, then decode: as `attach`. The first token comes with `pulled`, a failure as a `refusal` with the code `transfer`."""
