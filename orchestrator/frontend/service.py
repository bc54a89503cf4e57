"""The seam between the APIs (HTTP, gRPC) and the token service behind them."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from orchestrator.core.sampling import Finish, Sampling
from orchestrator.observability.trace import Trace


@dataclass(slots=True)
class Submission:
    """A tokenised request; `tokens` has type code "I". SLOs in seconds; None where the tier decides. `trace` where it is traced."""

    request_id: str
    tokens: array[int]
    sampling: Sampling
    tier: str = "default"
    ttft_slo_s: float | None = None
    tpot_slo_s: float | None = None
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Logprob:
    """Log-probability of one output token, and of the likeliest (token id, log-probability), best first."""

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Delta:
    """New output tokens, in order and never twice. `finish` is set on the last one. Not frozen: one is made for every token."""

    first_index: int
    tokens: tuple[int, ...]
    logprobs: tuple[Logprob, ...] = ()
    finish: Finish | None = None
    cached_tokens: int = 0
    prompt_logprobs: tuple[Logprob, ...] = ()
    """With the first token, where they were asked for: one for each prompt token but the first."""


class Cause(StrEnum):
    """Why a request was refused or failed; the APIs map it to HTTP and gRPC status."""

    INVALID = "invalid"  # 400 INVALID_ARGUMENT
    DUPLICATE = "duplicate"  # 409 ALREADY_EXISTS
    KEY_REQUESTS = "key_requests"  # 429 RESOURCE_EXHAUSTED: a limit of the API key, as the next two
    KEY_CONCURRENCY = "key_concurrency"
    KEY_TOKENS = "key_tokens"
    QUEUE_FULL = "queue_full"  # 429 RESOURCE_EXHAUSTED
    OVERLOADED = "overloaded"  # 429 RESOURCE_EXHAUSTED: its first token would come too late
    NO_CAPACITY = "no_capacity"  # 503 UNAVAILABLE: no worker is ready
    TIMEOUT = "timeout"  # 504 DEADLINE_EXCEEDED
    SHUTTING_DOWN = "shutting_down"  # 503 UNAVAILABLE
    WORKER = "worker"  # 500 INTERNAL: attempts used up


class ServiceError(Exception):
    """A request that cannot run. `retry_after_s` is set where trying again may help."""

    def __init__(self, cause: Cause, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the APIs need to know of the served model. Token ids lie in [0, vocab_size)."""

    name: str
    max_model_len: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]


class Sink(Protocol):
    """Where the output of a request goes."""

    def put(self, item: Delta | ServiceError) -> None:
        """On the event loop, in order, never during `submit`; after a delta with `finish`, or an error, nothing follows."""


class TokenSink(Sink, Protocol):
    """A sink that takes the usual delta, one token and nothing else, without an object for it."""

    def token(self, index: int, token: int, now_s: float) -> None:
        """As `put(Delta(index, (token,)))`. `now_s` is the time of its step on `time.perf_counter`."""


class Running(Protocol):
    """A request in progress, to whoever submitted it."""

    def cancel(self) -> None:
        """The client is gone: end the request on every worker. Does nothing once it is over."""

    def complete(self) -> None:
        """The client has all it wants (a stop string was found): end the request as finished. Does nothing once it is over."""


class TokenService(Protocol):
    """Runs tokenised requests on the cluster."""

    @property
    def model(self) -> ModelInfo: ...

    @property
    def ready(self) -> bool:
        """True when a request could be routed now."""

    def submit(self, submission: Submission, sink: Sink) -> Running:
        """Start a request; raises ServiceError at once if it is refused. Its output goes to `sink`, its failure too."""

    def cancel(self, request_id: str) -> bool:
        """Cancel a running request; False if it is not known or already over."""


class DeltaStream(AsyncIterator[Delta]):
    """A Sink to iterate over: ends after the delta that carries `finish`, raises what failed the request."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Delta | ServiceError] = asyncio.Queue()
        self._over = False

    def put(self, item: Delta | ServiceError) -> None:
        self._queue.put_nowait(item)

    async def __anext__(self) -> Delta:
        if self._over:
            raise StopAsyncIteration
        item = await self._queue.get()
        self._over = isinstance(item, ServiceError) or item.finish is not None
        if isinstance(item, ServiceError):
            raise item
        return item
