"""What fits: prompt tokens, output tokens, seeds."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

import numpy as np

from orchestrator.core.quote import cut
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text.problem import InvalidRequest

SEED_BITS = 63
_SEEDS = random.Random()  # seeded by the operating system


def draw_seed() -> int:
    """A seed for a request that brings none, so that every worker continues it the same way."""
    return _SEEDS.getrandbits(SEED_BITS)


def check_prompt(tokens: Sequence[int], model: ModelInfo, param: str) -> None:
    """Raise InvalidRequest for an empty prompt or an id outside the vocabulary."""
    if not tokens:
        raise InvalidRequest("The prompt has no tokens: send at least one.", param)
    if min(tokens) < 0 or max(tokens) >= model.vocab_size:
        wrong = next(t for t in tokens if not 0 <= t < model.vocab_size)
        raise InvalidRequest(
            f"Token id {cut(str(wrong), 40)} is outside the vocabulary: use ids from 0 to {model.vocab_size - 1}.",
            param,
        )


def token_array(tokens: Sequence[int], model: ModelInfo, param: str) -> array[int]:
    """A prompt for a Submission; raises InvalidRequest for one that is empty or holds anything but ids of the vocabulary."""
    try:
        found = array("I", tokens)
    except (TypeError, OverflowError):
        if any(type(token) is not int for token in tokens):
            raise _not_ids(param) from None
        check_prompt(tokens, model, param)
        raise
    if not found:
        raise InvalidRequest("The prompt has no tokens: send at least one.", param)
    values = np.frombuffer(found, np.uint32)
    if values.max() >= model.vocab_size:
        check_prompt(tokens, model, param)
    # `array` takes true for 1.
    if values.min() <= 1 and any(type(token) is not int for token in tokens):
        raise _not_ids(param)
    return found


def _not_ids(param: str) -> InvalidRequest:
    return InvalidRequest(f"{param!r} is a list: send a string or a list of token ids.", param, "invalid_type")


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
