"""Several submissions that make one answer: they start together or not at all, and end together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import usage_object
from orchestrator.frontend.http.choice import Choice
from orchestrator.frontend.http.errors import ApiError, as_api_error, internal_error
from orchestrator.frontend.http.server import Response, Stream
from orchestrator.frontend.http.stream_sink import HEADERS
from orchestrator.frontend.outcomes import outcome_of
from orchestrator.frontend.service import Delta, ServiceError, TokenService
from orchestrator.frontend.text import GenerationCancelled, Piece, failure_of
from orchestrator.observability import Outcome

_log = logging.getLogger(__name__)


_THREAD_FROM_ENTRIES = 2048


def _answer(stream: Stream, made: asyncio.Future[Response]) -> None:
    error = made.exception()
    if error is None:
        stream.answer(made.result())
        return
    request_id = stream.request.id
    _log.error("request %s failed in its answer", request_id, exc_info=error, extra={"request_id": request_id})
    stream.answer(internal_error(request_id).response())


Complete = Callable[[Sequence[Choice], dict[str, Any]], dict[str, Any]]
"""Makes the body of a whole answer of finished choices and their usage."""


class Group:
    """Answers on `stream` when its choices do. `complete` makes a whole answer; where it is None, the answer is streamed."""

    def __init__(self, stream: Stream, choices: Sequence[Choice], complete: Complete | None) -> None:
        self._stream = stream
        self._choices = choices
        self._complete = complete
        self._over = False
        for choice in choices:
            choice.group = self

    def submit(self, service: TokenService) -> None:
        """Start all; raises ApiError, with none of them running, if one is refused."""
        try:
            for choice in self._choices:
                running = service.submit(choice.submission, choice)
                if self._over:  # to start one may show that another fails
                    running.cancel()
                    return
                choice.running = running
        except ServiceError as error:
            self._end(*outcome_of(error))
            raise as_api_error(error) from None
        except BaseException:
            self._end(Outcome.FAILED, "internal")
            raise
        self._stream.on_gone = self._gone

    def put(self, choice: Choice, item: Delta | ServiceError) -> None:
        """What came for `choice`. Never raises: one client's request must not disturb what comes for others."""
        if self._over or choice.finish is not None:
            return
        try:
            failure = failure_of(item)
            if failure is not None:
                self._fail(failure)
            elif isinstance(item, Delta):
                self._take(choice, item)
        except Exception as error:
            request_id = self._stream.request.id
            _log.exception("request %s failed in its answer", request_id, extra={"request_id": request_id})
            self._fail(error)

    def _take(self, choice: Choice, delta: Delta) -> None:
        piece = choice.assembler.push(delta)
        choice.meter.tokens(len(piece.tokens))
        if piece.finish is not None:
            self._finish(choice, piece.finish)
        if self._complete is None:
            self._write(choice, piece)
            return
        choice.texts.append(piece.text)
        choice.tokens += piece.text_tokens
        if self._done:
            self._tell(self._complete, self._usage())

    def _tell(self, complete: Complete, usage: dict[str, Any]) -> None:
        """Answer whole; a body of many log-probabilities is made in a thread, since every stream would wait for it."""
        choices, stream = self._choices, self._stream
        if sum(choice.entries for choice in choices) < _THREAD_FROM_ENTRIES:
            response = Response.json(complete(choices, usage))
            self._close()
            stream.answer(response)
            return
        self._close()
        made = asyncio.get_running_loop().run_in_executor(None, lambda: Response.json(complete(choices, usage)))
        made.add_done_callback(lambda done: _answer(stream, done))

    def _write(self, choice: Choice, piece: Piece) -> None:
        data = choice.renderer.chunk(piece, not choice.begun)
        choice.begun = True
        if not self._stream.started:
            self._stream.start(200, HEADERS)
        if self._done:
            self._close()
            self._stream.end(data + choice.renderer.last(self._usage()))
        else:
            self._stream.write(data)

    @property
    def _done(self) -> bool:
        return all(choice.finish is not None for choice in self._choices)

    def _usage(self) -> dict[str, Any]:
        """A prompt counts once, however many answers it has."""
        prompts = {c.prompt: len(c.submission.tokens) for c in self._choices}
        cached = dict.fromkeys(prompts, 0)
        for choice in self._choices:
            cached[choice.prompt] = max(cached[choice.prompt], choice.assembler.cached_tokens)
        written = sum(choice.assembler.completion_tokens for choice in self._choices)
        return usage_object(sum(prompts.values()), written, sum(cached.values()))

    def _finish(self, choice: Choice, finish: Finish) -> None:
        choice.finish = finish
        stopped = choice.assembler.stopped
        if stopped and choice.running is not None:
            choice.running.complete()
        choice.meter.end(Outcome.COMPLETED, "stop_string" if stopped else "done", choice.assembler.cached_tokens)

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, (ServiceError, GenerationCancelled))
        told = as_api_error(error) if known else internal_error(self._stream.request.id)  # type: ignore[arg-type]
        self._end(*outcome_of(error))
        self._refuse(told)

    def _refuse(self, error: ApiError) -> None:
        if self._stream.started:
            self._stream.end(self._choices[0].renderer.failure(error))
        else:
            self._stream.answer(error.response())

    def _gone(self) -> None:
        """The client went away."""
        if not self._over:
            self._end(Outcome.CANCELLED, "client_gone")

    def _end(self, outcome: Outcome, reason: str) -> None:
        """End what runs: all choices share the fate of the first that fails."""
        for choice in self._choices:
            if choice.finish is None:
                choice.meter.end(outcome, reason, choice.assembler.cached_tokens)
                if choice.running is not None:
                    # Later, since whoever calls may be walking over what runs.
                    asyncio.get_running_loop().call_soon(choice.running.cancel)
        self._close()

    def _close(self) -> None:
        self._over = True
        self._stream.on_gone = None
        used = 0
        for choice in self._choices:
            choice.group = choice.running = None  # so that all is freed without the cycle collector
            used += len(choice.submission.tokens) + choice.assembler.completion_tokens
        caller = self._stream.request.caller
        if caller is not None:
            caller.done(used)
