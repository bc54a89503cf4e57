"""Completions: the answer as one object or as chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import Identity, finite, token_text
from orchestrator.frontend.text import Piece, TextModel, TextToken


class CompletionAnswer:
    """Renders one completion. The constant parts of a chunk are encoded once."""

    def __init__(self, identity: Identity, text: TextModel, logprobs: bool, include_usage: bool) -> None:
        self._identity = identity
        self._text = text
        self._logprobs = logprobs
        head = json.dumps(identity.head("cmpl", "text_completion"))[:-1]
        self._open = f'data: {head}, "choices": [{{"index": 0, "text": '
        self._close = ', "usage": null}\n\n' if include_usage else "}\n\n"

    def chunk(self, piece: Piece, first: bool) -> bytes:
        if not (piece.text or piece.text_tokens or piece.finish or first):
            return b""
        logprobs = json.dumps(self._lists(piece.text_tokens)) if self._logprobs and piece.text_tokens else "null"
        finish = "null" if piece.finish is None else f'"{piece.finish}"'
        event = (
            f'{self._open}{json.dumps(piece.text)}, "logprobs": {logprobs}, "finish_reason": {finish}}}]{self._close}'
        )
        return event.encode()

    def usage_chunk(self, usage: dict[str, Any]) -> bytes:
        head = self._identity.head("cmpl", "text_completion")
        return f"data: {json.dumps(head | {'choices': [], 'usage': usage})}\n\n".encode()

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        choice = {
            "index": 0,
            "text": text,
            "logprobs": self._lists(tokens) if self._logprobs else None,
            "finish_reason": finish.value,
        }
        return self._identity.head("cmpl", "text_completion") | {"choices": [choice], "usage": usage}

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
