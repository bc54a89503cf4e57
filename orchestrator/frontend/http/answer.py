"""What an answer is made of, whatever its form."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import orjson

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.server import ApiError
from orchestrator.frontend.text import Assembler, Piece, TextModel, TextToken


@dataclass(slots=True)
class Identity:
    """The fields that every chunk of an answer repeats."""

    request_id: str
    model: str
    created_s: int
    fingerprint: str

    @classmethod
    def of(cls, request_id: str, model: str) -> Identity:
        return cls(request_id, model, int(time.time()), _fingerprint(model))

    def head(self, prefix: str, kind: str) -> dict[str, Any]:
        return {
            "id": f"{prefix}-{self.request_id}",
            "object": kind,
            "created": self.created_s,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def last(self, prefix: str, kind: str, usage: dict[str, Any] | None) -> bytes:
        """The end of a stream of such chunks, after the event with the token counts where they are wanted."""
        return DONE if usage is None else event(self.head(prefix, kind) | {"choices": [], "usage": usage}) + DONE


class Renderer(Protocol):
    """One API's form of an answer.

    `frame` is what stands before and after the JSON string of a piece of text in mid-stream, where such an event holds nothing
    else that changes: a token is then sent without calling `chunk`. None where there is no such form.
    """

    frame: tuple[bytes, bytes] | None

    def chunk(self, piece: Piece, first: bool) -> bytes:
        """Server-sent events for a piece; empty when there is nothing to show yet."""

    def last(self, usage: dict[str, Any]) -> bytes:
        """The events after the last piece."""

    def failure(self, error: ApiError) -> bytes:
        """The last event of a stream that fails half way."""

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        """The body of an answer that is not streamed."""


class ChoiceRenderer(Renderer, Protocol):
    """One choice of an answer of several; `body` and `annotate` make the whole and may be asked of any of them."""

    def choice(self, text: str, tokens: list[TextToken], finish: Finish) -> dict[str, Any]: ...

    def body(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]: ...

    def annotate(self, body: dict[str, Any], prompt_logprobs: list[list[Any]]) -> None: ...


DONE = b"data: [DONE]\n\n"


@lru_cache(maxsize=16)
def _fingerprint(model: str) -> str:
    return f"fp_{hashlib.blake2b(model.encode(), digest_size=6).hexdigest()}"


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event with `value` as JSON."""
    return b"data: %b\n\n" % orjson.dumps(value)


def usage_of(prompt_tokens: int, assembler: Assembler) -> dict[str, Any]:
    """The `usage` object."""
    return usage_object(prompt_tokens, assembler.completion_tokens, assembler.cached_tokens)


def usage_object(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """The `usage` object of these counts."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


def token_text(text: TextModel, token: int) -> str:
    """A token for display; a half character shows as U+FFFD, its bytes are exact."""
    return text.token_bytes(token).decode("utf-8", "replace")


def finite(logprob: float) -> float:
    """JSON knows no infinity; OpenAI writes -9999 for the impossible."""
    return max(logprob, -9999.0)
