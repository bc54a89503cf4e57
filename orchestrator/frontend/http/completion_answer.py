"""Completions: the answer as one object or as chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import Identity, finite, token_text
from orchestrator.frontend.http.server import ApiError
from orchestrator.frontend.text import Piece, TextModel, TextToken


class CompletionAnswer:
    """Renders one completion. The constant parts of a chunk are encoded once."""

    def __init__(
        self, identity: Identity, text: TextModel, logprobs: bool, include_usage: bool, index: int = 0
    ) -> None:
        self._identity = identity
        self._text = text
        self._logprobs = logprobs
        self._include_usage = include_usage
        self._index = index
        head = orjson.dumps(identity.head("cmpl", "text_completion"))[:-1]
        self._open = b'data: %b,"choices":[{"index":%d,"text":' % (head, index)
        self._close = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        after = b',"logprobs":null,"finish_reason":null}]' + self._close
        self.frame = None if logprobs else (self._open, after)

    def chunk(self, piece: Piece, first: bool) -> bytes:
        if not (piece.text or piece.text_tokens or piece.finish or first):
            return b""
        logprobs = orjson.dumps(self._lists(piece.text_tokens)) if self._logprobs and piece.text_tokens else b"null"
        finish = b"null" if piece.finish is None else b'"%b"' % piece.finish.encode()
        text = orjson.dumps(piece.text)
        return b'%b%b,"logprobs":%b,"finish_reason":%b}]%b' % (self._open, text, logprobs, finish, self._close)

    def last(self, usage: dict[str, Any]) -> bytes:
        return self._identity.last("cmpl", "text_completion", usage if self._include_usage else None)

    def failure(self, error: ApiError) -> bytes:
        return error.event()

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        return self.body([self.choice(text, tokens, finish)], usage)

    def choice(self, text: str, tokens: list[TextToken], finish: Finish) -> dict[str, Any]:
        """One of `choices`."""
        return {
            "index": self._index,
            "text": text,
            "logprobs": self._lists(tokens) if self._logprobs else None,
            "finish_reason": finish.value,
        }

    def body(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """The answer with these choices."""
        return self._identity.head("cmpl", "text_completion") | {"choices": choices, "usage": usage}

    def annotate(self, body: dict[str, Any], prompt_logprobs: list[list[Any]]) -> None:
        """Add the prompts' log-probabilities, one list for each choice."""
        for choice, found in zip(body["choices"], prompt_logprobs, strict=True):
            choice["prompt_logprobs"] = found

    def _lists(self, tokens: Sequence[TextToken]) -> dict[str, Any]:
        return {
            "tokens": [token_text(self._text, t.token) for t in tokens],
            "token_logprobs": [finite(t.logprob.logprob) for t in tokens],
            "top_logprobs": [self._top(t) for t in tokens],
            "text_offset": [t.start for t in tokens],
        }

    def _top(self, token: TextToken) -> dict[str, float]:
        """The likeliest tokens and the one chosen, by text; of two tokens that look alike the likelier stays."""
        top: dict[str, float] = {}
        for other, logprob in (*token.logprob.top, (token.token, token.logprob.logprob)):
            top.setdefault(token_text(self._text, other), finite(logprob))
        return top
