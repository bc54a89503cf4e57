"""An answer as server-sent events: one write per delta, in the call that brings it."""

from __future__ import annotations

from orchestrator.frontend.http.answer import usage_of
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.sink import AnswerSink
from orchestrator.frontend.service import Delta, ServiceError
from orchestrator.observability import Outcome

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class StreamSink(AnswerSink):
    """The head goes out with the first piece, so a refusal before it still has a status of its own; an error after that is an event."""

    _before = _after = b""
    _framed = False  # from the first piece on, if the answer has a frame, until the end

    def put(self, item: Delta | ServiceError) -> None:
        """See Sink."""
        if self._framed and item.__class__ is Delta and item.finish is None and len(item.tokens) == 1:  # type: ignore[union-attr]
            try:
                text = self._assembler.quick(item.tokens[0])  # type: ignore[union-attr]
                if text is not None:
                    self._meter.tokens(1)
                    self._stream.write(b"".join((self._before, text, self._after)))
                    return
            except Exception as error:
                self._fail(error)
                return
        super().put(item)

    def _take(self, delta: Delta) -> None:
        first = not self._stream.started
        piece = self._assembler.push(delta)
        self._meter.tokens(len(piece.tokens))
        data = self._renderer.chunk(piece, first)
        if first:
            self._stream.start(200, HEADERS)
            frame = self._renderer.frame
            if frame is not None and not self._assembler.per_token:
                self._before, self._after = frame
                self._framed = True
        if piece.finish is None:
            self._stream.write(data)
        else:
            self._finish()
            self._stream.end(data + self._renderer.last(usage_of(self._prompt_tokens, self._assembler)))

    def _refuse(self, error: ApiError) -> None:
        if self._stream.started:
            self._stream.end(self._renderer.failure(error))
        else:
            self._stream.answer(error.response())

    def _end(self, outcome: Outcome, reason: str) -> None:
        self._framed = False
        super()._end(outcome, reason)
