"""One submitted request on its way to its client: what its end means, however it comes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

from orchestrator.frontend.http.answer import Renderer
from orchestrator.frontend.http.errors import ApiError, as_api_error, internal_error
from orchestrator.frontend.http.server import Stream
from orchestrator.frontend.outcomes import outcome_of
from orchestrator.frontend.service import Delta, Running, ServiceError, Submission, TokenService
from orchestrator.frontend.text import Assembler, GenerationCancelled, failure_of
from orchestrator.observability import Outcome, RequestMeter

_log = logging.getLogger(__name__)


class AnswerSink(ABC):
    """A Sink that answers on `stream`. Subclasses take deltas; this class counts, and deals with errors and clients that leave."""

    def __init__(
        self, stream: Stream, assembler: Assembler, renderer: Renderer, meter: RequestMeter, prompt_tokens: int
    ) -> None:
        self._stream = stream
        self._assembler = assembler
        self._renderer = renderer
        self._meter = meter
        self._prompt_tokens = prompt_tokens
        self._running: Running | None = None
        self._over = False

    def submit(self, service: TokenService, submission: Submission) -> None:
        """Start the request; raises ApiError if it is refused."""
        try:
            self._running = service.submit(submission, self)
        except ServiceError as error:
            if self._stream.request.caller is not None:
                self._stream.request.caller.done(0)
            self._end(*outcome_of(error))
            raise as_api_error(error) from None
        except BaseException:
            self._end(Outcome.FAILED, "internal")
            raise
        self._stream.on_gone = self._gone

    def put(self, item: Delta | ServiceError) -> None:
        """See Sink. Never raises: one client's request must not disturb what comes for others."""
        if self._over:
            return
        try:
            failure = failure_of(item)
            if failure is not None:
                self._fail(failure)
            elif isinstance(item, Delta):
                self._take(item)
        except Exception as error:
            request_id = self._stream.request.id
            _log.exception("request %s failed in its answer", request_id, extra={"request_id": request_id})
            self._fail(error)

    @abstractmethod
    def _take(self, delta: Delta) -> None:
        """Use a delta; call `_finish` with the last one."""

    @abstractmethod
    def _refuse(self, error: ApiError) -> None:
        """Tell the client of a failure."""

    def _finish(self) -> None:
        """The client gets all it wants with what is written next."""
        assert self._running is not None, "nothing comes before submit has returned"
        if self._assembler.stopped:
            self._running.complete()
        self._end(Outcome.COMPLETED, "stop_string" if self._assembler.stopped else "done")

    def _fail(self, error: Exception) -> None:
        assert self._running is not None, "nothing comes before submit has returned"
        if isinstance(error, (ServiceError, GenerationCancelled)):
            told = as_api_error(error)
        else:
            told = internal_error(self._stream.request.id)
            self._running.cancel()
        self._end(*outcome_of(error))
        self._refuse(told)

    def _gone(self) -> None:
        """The client went away."""
        if not self._over:
            running = self._running
            self._end(Outcome.CANCELLED, "client_gone")
            if running is not None:
                running.cancel()

    def _end(self, outcome: Outcome, reason: str) -> None:
        self._over = True
        self._running = None  # it knows us: without this only the cycle collector would free both
        self._meter.end(outcome, reason, self._assembler.cached_tokens)
        caller = self._stream.request.caller
        if caller is not None:
            caller.done(self._prompt_tokens + self._assembler.completion_tokens)
