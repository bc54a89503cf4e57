"""What fits: prompt tokens, output tokens, seeds."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text.problem import InvalidRequest

SEED_BITS = 63


def draw_seed() -> int:
    """A seed for a request that brings none, so that every worker continues it the same way."""
    return secrets.randbits(SEED_BITS)


def check_prompt(tokens: Sequence[int], model: ModelInfo, param: str) -> None:
    """Raise InvalidRequest for an empty prompt or an id outside the vocabulary."""
    if not tokens:
        raise InvalidRequest("The prompt has no tokens: send at least one.", param)
    if min(tokens) < 0 or max(tokens) >= model.vocab_size:
        wrong = next(t for t in tokens if not 0 <= t < model.vocab_size)
        raise InvalidRequest(
            f"Token id {wrong} is outside the vocabulary: use ids from 0 to {model.vocab_size - 1}.", param
        )


def output_budget(prompt_tokens: int, requested: int | None, model: ModelInfo, prompt_param: str, param: str) -> int:
    """Output tokens to allow: what was requested, or the rest of the context. Raises InvalidRequest if that does not fit."""
    room = model.max_model_len - prompt_tokens
    if room < 1:
        raise InvalidRequest(
            f"This model's context length is {model.max_model_len} tokens and the prompt has {prompt_tokens}: "
            f"shorten the prompt to at most {model.max_model_len - 1} tokens.",
            prompt_param,
            "context_length_exceeded",
        )
    if requested is None:
        return room
    if requested > room:
        raise InvalidRequest(
            f"This model's context length is {model.max_model_len} tokens; {prompt_tokens} in the prompt and {requested} "
            f"to generate do not fit: lower max_tokens to at most {room} or shorten the prompt.",
            param,
            "context_length_exceeded",
        )
    return requested
