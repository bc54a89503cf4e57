"""Log-probabilities of prompts: vLLM's `prompt_logprobs`, and the lists of an echoed completion."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from orchestrator.frontend.http.answer import finite, token_text
from orchestrator.frontend.service import Logprob
from orchestrator.frontend.text import TextModel


def prompt_entries(text: TextModel, tokens: array[int], logprobs: Sequence[Logprob], alternatives: int) -> list[Any]:
    """One object per prompt token, by token id, with the token itself and the likeliest; null for the first, which nothing precedes.

    `rank` is 1 for the likeliest, null for a token that is not among the `alternatives`.
    """
    entries: list[Any] = [None]
    for token, found in zip(tokens[1:], logprobs, strict=True):
        ranked = {other: (rank, value) for rank, (other, value) in enumerate(found.top[:alternatives], 1)}
        ranked.setdefault(token, (None, found.logprob))  # type: ignore[arg-type]
        entries.append(
            {
                str(other): {"logprob": finite(value), "rank": rank, "decoded_token": token_text(text, other)}
                for other, (rank, value) in ranked.items()
            }
        )
    return entries


def echo(
    text: TextModel, tokens: array[int], logprobs: Sequence[Logprob], alternatives: int, choice: dict[str, Any]
) -> None:
    """Put the prompt before the answer of `choice`, in its text and, where it has them, in its lists."""
    detokenizer = text.detokenizer()
    pieces = [detokenizer.push((token,)) for token in tokens]
    prompt = "".join(pieces) + detokenizer.finish()
    choice["text"] = prompt + choice["text"]
    lists = choice["logprobs"]
    if lists is None:
        return
    offsets, at = [], 0
    for piece in pieces:
        offsets.append(at)
        at += len(piece)
    top: list[Any] = [None]
    for token, found in zip(tokens[1:], logprobs, strict=True):
        shown = (*found.top[:alternatives], (token, found.logprob))
        top.append({token_text(text, other): finite(value) for other, value in reversed(shown)})
    choice["logprobs"] = {
        "tokens": [*(token_text(text, token) for token in tokens), *lists["tokens"]],
        "token_logprobs": [None, *(finite(found.logprob) for found in logprobs), *lists["token_logprobs"]],
        "top_logprobs": [*top, *lists["top_logprobs"]],
        "text_offset": [*offsets, *(len(prompt) + start for start in lists["text_offset"])],
    }
