"""What an answer is made of, whatever its form."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.core.sampling import Finish
from orchestrator.frontend.text import Assembler, Piece, TextModel, TextToken


@dataclass(frozen=True, slots=True)
class Identity:
    """The fields that every chunk of an answer repeats."""

    request_id: str
    model: str
    created_s: int
    fingerprint: str

    @classmethod
    def of(cls, request_id: str, model: str) -> Identity:
        digest = hashlib.blake2b(model.encode(), digest_size=6).hexdigest()
        return cls(request_id, model, int(time.time()), f"fp_{digest}")

    def head(self, prefix: str, kind: str) -> dict[str, Any]:
        return {
            "id": f"{prefix}-{self.request_id}",
            "object": kind,
            "created": self.created_s,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


class Renderer(Protocol):
    """One API's form of an answer."""

    def chunk(self, piece: Piece, first: bool) -> bytes:
        """Server-sent events for a piece; empty when there is nothing to show yet."""

    def usage_chunk(self, usage: dict[str, Any]) -> bytes:
        """The event with the token counts."""

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        """The body of an answer that is not streamed."""


DONE = b"data: [DONE]\n\n"


def usage_of(prompt_tokens: int, assembler: Assembler) -> dict[str, Any]:
    """The `usage` object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": assembler.completion_tokens,
        "total_tokens": prompt_tokens + assembler.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": assembler.cached_tokens},
    }


def token_text(text: TextModel, token: int) -> str:
    """A token for display; a half character shows as U+FFFD, its bytes are exact."""
    return text.token_bytes(token).decode("utf-8", "replace")


def finite(logprob: float) -> float:
    """JSON knows no infinity; OpenAI writes -9999 for the impossible."""
    return max(logprob, -9999.0)
