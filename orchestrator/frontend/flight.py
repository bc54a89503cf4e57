"""One request in progress: what was emitted, which attempt runs where, and the stream that its client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from orchestrator.core.request import RequestState, RequestView
from orchestrator.core.sampling import Finish
from orchestrator.frontend.records import RequestRecord
from orchestrator.frontend.service import Delta, Logprob, ServiceError, Submission
from pd.v1 import worker_pb2 as pb


class Gap(Exception):
    """A token message starts beyond the next index: something was lost and must be asked for again."""


class DeltaStream(AsyncIterator[Delta]):
    """What `submit` returns. Ends after the delta that carries `finish`."""

    def __init__(self, leave: Callable[[RequestState], None]) -> None:
        self._queue: asyncio.Queue[Delta | ServiceError] = asyncio.Queue()
        self._leave = leave
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

    async def aclose(self) -> None:
        """Cancel the request unless it is over."""
        self._over = True
        self._leave(RequestState.CANCELLED)

    def complete(self) -> None:
        """The client has all it wants: end the request as finished unless it is over."""
        self._over = True
        self._leave(RequestState.FINISHED)


@dataclass(slots=True, eq=False)
class Flight:
    """`prefill` and `decode` name the workers of the current attempt ("" where none); `lease` is set from first token to pull.

    `ticket` is the attempt on the wire. No two attempts of a front door share one, so an id that is used again is no trap.
    `unlisted` counts, for each worker, the heartbeats in a row that did not list it.
    """

    submission: Submission
    view: RequestView
    record: RequestRecord
    stream: DeltaStream
    ticket: int = 0
    emitted: list[int] = field(default_factory=list)
    prefill: str = ""
    decode: str = ""
    reserved: bool = False
    attached: bool = False
    lease: pb.KvBlocks | None = None
    unlisted: dict[str, int] = field(default_factory=dict)
    cached_tokens: int = 0
    timeout: asyncio.TimerHandle | None = None

    @property
    def request_id(self) -> str:
        return self.submission.request_id

    @property
    def key(self) -> pb.Key:
        return pb.Key(request_id=self.request_id, attempt=self.ticket)

    @property
    def context(self) -> list[int]:
        """Prompt and everything emitted."""
        return [*self.submission.tokens, *self.emitted]

    def workers(self) -> set[str]:
        return {name for name in (self.prefill, self.decode) if name}

    def sampling(self) -> pb.SamplingParameters:
        sampling = self.submission.sampling
        return pb.SamplingParameters(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop_token_ids=sampling.stop_token_ids,
            ignore_eos=sampling.ignore_eos,
            logprobs=sampling.logprobs,
        )

    def accept(self, item: pb.Tokens) -> Delta | None:
        """Append what is new in a token message, exactly once; None if it holds nothing new. Raises Gap."""
        skip = len(self.emitted) - item.first_index
        if skip < 0:
            raise Gap(f"got index {item.first_index}, wanted {len(self.emitted)}")
        tokens = tuple(item.tokens[skip:])
        finish = Finish(item.finish) if item.finish else None
        if not tokens and finish is None:
            return None
        first_index = len(self.emitted)
        self.emitted += tokens
        self.cached_tokens = max(self.cached_tokens, item.cached_tokens if first_index == 0 else 0)
        logprobs = tuple(
            Logprob(entry.logprob, tuple(zip(entry.top_ids, entry.top_logprobs, strict=True)))
            for entry in item.logprobs[skip:]
        )
        return Delta(first_index, tokens, logprobs, finish, self.cached_tokens)
