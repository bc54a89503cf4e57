"""An answer as server-sent events: one write per delta, in the call that brings it."""

from __future__ import annotations

from orchestrator.frontend.http.answer import usage_of
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.server import ChunkFrame
from orchestrator.frontend.http.sink import AnswerSink
from orchestrator.frontend.service import Delta
from orchestrator.observability import Outcome

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class StreamSink(AnswerSink):
    """The head goes out with the first piece, so a refusal before it still has a status of its own; an error after that is an event."""

    _frame: ChunkFrame | None = None  # from the first piece on, if the answer has one, until the end

    def token(self, index: int, token: int, now_s: float) -> None:
        """See TokenSink."""
        if self._frame is not None:
            try:
                text = self._assembler.quick(token)
                if text is not None:
                    self._meter.token(now_s)
                    self._frame.write(text)
                    return
            except Exception as error:
                self._fail(error)
                return
        self.put(Delta(index, (token,)))

    def _take(self, delta: Delta) -> None:
        first = not self._stream.started
        piece = self._assembler.push(delta)
        self._meter.tokens(len(piece.tokens))
        data = self._renderer.chunk(piece, first)
        if first:
            self._stream.start(200, HEADERS)
        if piece.finish is None:
            self._stream.write(data)
            frame = self._renderer.frame
            if self._frame is None and frame is not None and not self._assembler.per_token:
                self._frame = self._stream.frame(*frame)
        else:
            self._finish()
            self._stream.end(data + self._renderer.last(usage_of(self._prompt_tokens, self._assembler)))

    def _refuse(self, error: ApiError) -> None:
        if self._stream.started:
            self._stream.end(self._renderer.failure(error))
        else:
            self._stream.answer(error.response())

    def _end(self, outcome: Outcome, reason: str) -> None:
        self._frame = None
        super()._end(outcome, reason)
