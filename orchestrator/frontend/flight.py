"""One request in progress: what was emitted, which attempt runs where, and the sink of its output."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.core.request import RequestState, RequestView
from orchestrator.core.sampling import Finish, Sampling
from orchestrator.frontend.records import RequestRecord
from orchestrator.frontend.service import Delta, Logprob, Sink, Submission
from pd.v1 import worker_pb2 as pb


class Gap(Exception):
    """A token message starts beyond the next index: something was lost and must be asked for again."""


@dataclass(slots=True, eq=False)
class Flight:
    """`prefill` and `decode` name the workers of the current attempt ("" where none); `lease` is set from first token to pull.

    `ticket` is the attempt on the wire. No two attempts of a front door share one, so an id that is used again is no trap.
    `unlisted` counts, for each worker, the heartbeats in a row that did not list it.
    """

    submission: Submission
    view: RequestView
    record: RequestRecord
    sink: Sink
    leave: Callable[[Flight, RequestState], None]
    sampling: pb.SamplingParameters
    ticket: int = 0
    key: pb.Key = field(default_factory=pb.Key)
    emitted: array[int] = field(default_factory=lambda: array("I"))
    prefill: str = ""
    decode: str = ""
    attached: bool = False
    lease: pb.KvBlocks | None = None
    unlisted: dict[str, int] = field(default_factory=dict)
    cached_tokens: int = 0
    take_token: Callable[[int, int, float], None] | None = None
    """`token` of a TokenSink."""
    timeout: asyncio.TimerHandle | None = None
    pause: asyncio.TimerHandle | None = None

    @property
    def request_id(self) -> str:
        return self.submission.request_id

    def new_attempt(self, ticket: int) -> None:
        """Take another identity on the wire."""
        self.ticket = ticket
        self.key = pb.Key(request_id=self.submission.request_id, attempt=ticket)

    def cancel(self) -> None:
        """See Running."""
        self.leave(self, RequestState.CANCELLED)

    def complete(self) -> None:
        """See Running."""
        self.leave(self, RequestState.FINISHED)

    @property
    def context_tokens(self) -> int:
        """Length of prompt and everything emitted."""
        return len(self.submission.tokens) + len(self.emitted)

    def context(self) -> bytes:
        """Prompt and everything emitted: uint32, little endian."""
        return self.submission.tokens.tobytes() + self.emitted.tobytes()

    def runs_on(self, worker: str) -> bool:
        """This worker has part in the current attempt."""
        return worker in (self.decode, self.prefill)

    def workers(self) -> set[str]:
        return {name for name in (self.prefill, self.decode) if name}

    def traceparent(self, stage: str) -> str:
        """The trace context of a stage of the current attempt; "" where the request is not traced."""
        trace = self.submission.trace
        return trace.of_stage(stage, self.record.attempt).traceparent if trace is not None else ""

    def accept(self, item: pb.Tokens) -> Delta | None:
        """Append what is new in a token message, exactly once; None if it holds nothing new. Raises Gap."""
        skip = len(self.emitted) - item.first_index
        if skip < 0:
            raise Gap(f"got index {item.first_index}, wanted {len(self.emitted)}")
        tokens = tuple(item.tokens[skip:])
        finish = Finish(ended) if (ended := item.finish) else None
        if not tokens and finish is None:
            return None
        first_index = len(self.emitted)
        self.emitted.extend(tokens)
        self.cached_tokens = max(self.cached_tokens, item.cached_tokens if first_index == 0 else 0)
        logprobs = _logprobs(item.logprobs[skip:])
        prompt_logprobs = _logprobs(item.prompt_logprobs) if first_index == 0 else ()
        return Delta(first_index, tokens, logprobs, finish, self.cached_tokens, prompt_logprobs)


def _logprobs(entries: Sequence[pb.TokenLogprobs]) -> tuple[Logprob, ...]:
    return (
        ()
        if not entries
        else tuple(Logprob(e.logprob, tuple(zip(e.top_ids, e.top_logprobs, strict=True))) for e in entries)
    )


def sampling_to(sampling: Sampling) -> pb.SamplingParameters:
    """As the workers are told, by every attempt."""
    return pb.SamplingParameters(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop_token_ids=sampling.stop_token_ids,
        ignore_eos=sampling.ignore_eos,
        logprobs=sampling.logprobs,
        json_schema=sampling.json_schema or "",
        regex=sampling.regex or "",
        prompt_logprobs=sampling.prompt_logprobs,
    )
