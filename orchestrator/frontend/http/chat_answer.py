"""Chat completions: the answer as one object or as chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import Identity, finite, token_text
from orchestrator.frontend.http.server import ApiError
from orchestrator.frontend.text import Piece, TextModel, TextToken


class ChatAnswer:
    """Renders one chat completion. The constant parts of a chunk are encoded once."""

    def __init__(
        self, identity: Identity, text: TextModel, logprobs: bool, include_usage: bool, index: int = 0
    ) -> None:
        self._identity = identity
        self._text = text
        self._logprobs = logprobs
        self._include_usage = include_usage
        self._index = index
        head = orjson.dumps(identity.head("chatcmpl", "chat.completion.chunk"))[:-1]
        self._open = b'data: %b,"choices":[{"index":%d,"delta":' % (head, index)
        self._close = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        after = b'},"logprobs":null,"finish_reason":null}]' + self._close
        self.frame = None if logprobs else (self._open + b'{"content":', after)

    def chunk(self, piece: Piece, first: bool) -> bytes:
        events = []
        if first:
            events.append(self._event(b'{"role":"assistant","content":""}', b"null", b"null"))
        if piece.text or piece.text_tokens:
            logprobs = orjson.dumps(self._content(piece.text_tokens)) if self._logprobs else b"null"
            events.append(self._event(b'{"content":%b}' % orjson.dumps(piece.text), logprobs, b"null"))
        if piece.finish is not None:
            events.append(self._event(b"{}", b"null", b'"%b"' % piece.finish.encode()))
        return b"".join(events)

    def last(self, usage: dict[str, Any]) -> bytes:
        return self._identity.last("chatcmpl", "chat.completion.chunk", usage if self._include_usage else None)

    def failure(self, error: ApiError) -> bytes:
        return error.event()

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        return self.body([self.choice(text, tokens, finish)], usage)

    def choice(self, text: str, tokens: list[TextToken], finish: Finish) -> dict[str, Any]:
        """One of `choices`."""
        return {
            "index": self._index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": self._content(tokens) if self._logprobs else None,
            "finish_reason": finish.value,
        }

    def body(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """The answer with these choices."""
        return self._identity.head("chatcmpl", "chat.completion") | {"choices": choices, "usage": usage}

    def annotate(self, body: dict[str, Any], prompt_logprobs: list[list[Any]]) -> None:
        """Add the prompt's log-probabilities, one list for each choice; a chat has one prompt, so they are the same."""
        body["prompt_logprobs"] = prompt_logprobs[0]

    def _event(self, delta: bytes, logprobs: bytes, finish: bytes) -> bytes:
        return b'%b%b,"logprobs":%b,"finish_reason":%b}]%b' % (self._open, delta, logprobs, finish, self._close)

    def _content(self, tokens: Sequence[TextToken]) -> dict[str, Any]:
        entries = []
        for t in tokens:
            top = [self._entry(token, logprob) for token, logprob in t.logprob.top]
            entries.append(self._entry(t.token, t.logprob.logprob) | {"top_logprobs": top})
        return {"content": entries, "refusal": None}

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        raw = self._text.token_bytes(token)
        return {"token": token_text(self._text, token), "logprob": finite(logprob), "bytes": list(raw)}
