"""An answer as one JSON object."""

from __future__ import annotations

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import usage_of
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.server import Response
from orchestrator.frontend.http.sink import AnswerSink
from orchestrator.frontend.service import Delta
from orchestrator.frontend.text import TextToken


class WholeSink(AnswerSink):
    """Collects. Tokens become text at the end, unless each must be looked at for stop strings."""

    _first: Delta | None = None

    def _take(self, delta: Delta) -> None:
        if self._first is None:
            self._first = delta
            self._tokens: list[int] = []
            self._texts: list[str] = []
            self._text_tokens: list[TextToken] = []
        if self._assembler.per_token:
            finish = self._push(delta)
        else:
            self._tokens += delta.tokens
            self._meter.tokens(len(delta.tokens))
            finish = delta.finish
            if finish is not None:
                cached_tokens = max(delta.cached_tokens, self._first.cached_tokens)
                self._push(Delta(0, tuple(self._tokens), (), finish, cached_tokens), counted=True)
        if finish is not None:
            usage = usage_of(self._prompt_tokens, self._assembler)
            body = self._renderer.whole("".join(self._texts), self._text_tokens, finish, usage)
            self._finish()
            self._stream.answer(Response.json(body))

    def _push(self, delta: Delta, counted: bool = False) -> Finish | None:
        piece = self._assembler.push(delta)
        if not counted:
            self._meter.tokens(len(piece.tokens))
        self._texts.append(piece.text)
        self._text_tokens += piece.text_tokens
        return piece.finish

    def _refuse(self, error: ApiError) -> None:
        self._stream.answer(error.response())
