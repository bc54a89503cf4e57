"""Chat completions: the answer as one object or as chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import Identity, finite, token_text
from orchestrator.frontend.text import Piece, TextModel, TextToken


class ChatAnswer:
    """Renders one chat completion. The constant parts of a chunk are encoded once."""

    def __init__(self, identity: Identity, text: TextModel, logprobs: bool, include_usage: bool) -> None:
        self._identity = identity
        self._text = text
        self._logprobs = logprobs
        head = json.dumps(identity.head("chatcmpl", "chat.completion.chunk"))[:-1]
        self._open = f'data: {head}, "choices": [{{"index": 0, "delta": '
        self._close = ', "usage": null}\n\n' if include_usage else "}\n\n"

    def chunk(self, piece: Piece, first: bool) -> bytes:
        events = []
        if first:
            events.append(self._event('{"role": "assistant", "content": ""}', "null", "null"))
        if piece.text or piece.text_tokens:
            logprobs = json.dumps(self._content(piece.text_tokens)) if self._logprobs else "null"
            events.append(self._event(f'{{"content": {json.dumps(piece.text)}}}', logprobs, "null"))
        if piece.finish is not None:
            events.append(self._event("{}", "null", f'"{piece.finish}"'))
        return "".join(events).encode()

    def usage_chunk(self, usage: dict[str, Any]) -> bytes:
        head = self._identity.head("chatcmpl", "chat.completion.chunk")
        return f"data: {json.dumps(head | {'choices': [], 'usage': usage})}\n\n".encode()

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": self._content(tokens) if self._logprobs else None,
            "finish_reason": finish.value,
        }
        return self._identity.head("chatcmpl", "chat.completion") | {"choices": [choice], "usage": usage}

    def _event(self, delta: str, logprobs: str, finish: str) -> str:
        return f'{self._open}{delta}, "logprobs": {logprobs}, "finish_reason": {finish}}}]{self._close}'

    def _content(self, tokens: Sequence[TextToken]) -> dict[str, Any]:
        entries = []
        for t in tokens:
            top = [self._entry(token, logprob) for token, logprob in t.logprob.top]
            entries.append(self._entry(t.token, t.logprob.logprob) | {"top_logprobs": top})
        return {"content": entries, "refusal": None}

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        raw = self._text.token_bytes(token)
        return {"token": token_text(self._text, token), "logprob": finite(logprob), "bytes": list(raw)}
