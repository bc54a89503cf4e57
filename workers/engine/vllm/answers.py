"""What `/v1/completions` says: tokens, log-probabilities, the end, or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.core.sampling import Finish
from workers.engine.base import TokenLogprobs

_FINISH = {"stop": Finish.STOP, "length": Finish.LENGTH}
PREFIX = "token_id:"


class AnswerError(Exception):
    """The server says that it failed, or says something that cannot be read."""


UNREADABLE = (AnswerError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What comes of reading an answer that is not as expected."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one event or answer. `finish` is the server's reason where it has stopped."""

    tokens: list[int]
    logprobs: list[TokenLogprobs]
    finish: Finish | None


NOTHING = Piece([], [], None)


def parse(data: bytes) -> dict[str, Any]:
    """A JSON object that reports no error; raises AnswerError."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise AnswerError(f"vLLM sent no JSON: {error}: {data[:200]!r}") from None
    if not isinstance(document, dict):
        raise AnswerError(f"vLLM sent no JSON object: {data[:200]!r}")
    if said := document.get("error"):
        raise AnswerError(error_text(said))
    return document


def piece(document: Mapping[str, Any], most: int = 0) -> Piece:
    """What is new in an event or an answer with one choice, with the `most` likeliest tokens; raises AnswerError."""
    choices = document.get("choices")
    if not choices:
        return NOTHING
    choice = choices[0]
    tokens = choice.get("token_ids")
    reason = choice.get("finish_reason")
    if tokens is None and reason is None:
        raise AnswerError("vLLM sent no token_ids: it needs a version that knows return_token_ids")
    finish = None
    if reason is not None:
        finish = _FINISH.get(reason)
        if finish is None:
            raise AnswerError(f"vLLM ended the request: {reason}")
    logprobs = choice.get("logprobs")
    return Piece(tokens or [], _logprobs(logprobs, most) if logprobs else [], finish)


def prompt_logprobs(document: Mapping[str, Any], most: int) -> tuple[TokenLogprobs, ...]:
    """Of the prompt's tokens from the second on, with the `most` likeliest each."""
    choice = document["choices"][0]
    entries, prompt = choice.get("prompt_logprobs") or [], choice.get("prompt_token_ids") or []
    found = []
    for token, entry in zip(prompt[1:], entries[1:], strict=False):
        likeliest = sorted((e["rank"], int(i), e["logprob"]) for i, e in entry.items())[:most]
        ids, values = tuple(t for _, t, _ in likeliest), tuple(p for _, _, p in likeliest)
        found.append(TokenLogprobs(entry[str(token)]["logprob"], ids, values))
    return tuple(found)


def error_text(error: Any) -> str:
    """The message of an OpenAI error, however deep it lies."""
    while isinstance(error, dict):
        error = error.get("error") or error.get("message") or error.get("detail") or orjson.dumps(error).decode()
    return str(error)


def _logprobs(document: Mapping[str, Sequence[Any]], most: int) -> list[TokenLogprobs]:
    tops = document.get("top_logprobs") or [None] * len(document["token_logprobs"])
    return [_one(own, top or {}, most) for own, top in zip(document["token_logprobs"], tops, strict=True)]


def _one(own: float, top: Mapping[str, float], most: int) -> TokenLogprobs:
    """The sampled token is among vLLM's likeliest even where it is not one of them."""
    likeliest = sorted(top.items(), key=lambda item: -item[1])[:most]
    return TokenLogprobs(
        own, tuple(int(name.removeprefix(PREFIX)) for name, _ in likeliest), tuple(p for _, p in likeliest)
    )
