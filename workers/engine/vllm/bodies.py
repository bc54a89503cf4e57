"""Bodies of legs, tokens in and tokens out: of `/v1/completions`, and of `/inference/v1/generate`, which forms no text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from orchestrator.core.sampling import Sampling

COMPLETIONS = "/v1/completions"
TOKENS = "/inference/v1/generate"
"""Behind --enable-scale-out. A streamed token takes a fifth less of the server's processor than on /v1/completions."""
SEED_BITS = 63
_NOT_SAMPLING = ("model", "prompt", "return_token_ids", "add_special_tokens")
_ODD = 0x9E3779B97F4A7C15


def completion(model: str, prompt: Sequence[int], sampling: Sampling, index: int, max_tokens: int) -> dict[str, Any]:
    """The next `max_tokens` tokens after `prompt`, of which the first has output index `index`.

    Every sampling parameter is given, so that no default of the model's generation config applies.
    """
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "return_token_ids": True,
        "add_special_tokens": False,
    }
    if sampling.temperature > 0:
        body["seed"] = leg_seed(sampling.seed, index)
    if sampling.stop_token_ids:
        body["stop_token_ids"] = sampling.stop_token_ids
    if sampling.ignore_eos:
        body["ignore_eos"] = True
    if sampling.logprobs is not None:
        body |= {"logprobs": sampling.logprobs, "return_tokens_as_token_ids": True}
    if sampling.json_schema is not None:
        body["structured_outputs"] = {"json": orjson.loads(sampling.json_schema)}
    elif sampling.regex is not None:
        body["structured_outputs"] = {"regex": sampling.regex}
    return body


def token_stream(body: dict[str, Any]) -> dict[str, Any]:
    """What `completion` made, for TOKENS. Without log-probabilities and grammars, of which it speaks another way."""
    sampling = {name: value for name, value in body.items() if name not in _NOT_SAMPLING}
    return {
        "model": body["model"],
        "token_ids": body["prompt"],
        "sampling_params": {**sampling, "detokenize": False},
        "stream": True,
    }


def is_plain(sampling: Sampling) -> bool:
    """Wants nothing but tokens."""
    return sampling.logprobs is None and not is_constrained(sampling)


def leg_seed(seed: int, index: int) -> int:
    """vLLM draws from one generator a request: a leg that starts later must not draw what the first one drew."""
    return ((seed + index * _ODD) & (1 << SEED_BITS) - 1) if index else seed & (1 << SEED_BITS) - 1


def is_constrained(sampling: Sampling) -> bool:
    """vLLM follows a grammar from the first token that it produces itself, so such a request cannot go on in the middle."""
    return sampling.json_schema is not None or sampling.regex is not None
