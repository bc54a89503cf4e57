"""Bounds of the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`default_tier` is the tier of requests that name none.

    `max_answers` bounds `n`, `max_prompts` the prompts of one completion times `n`, `max_prompt_logprobs` the log-probabilities of
    prompt tokens that one request may ask for, alternatives counted.
    """

    max_body_bytes: int = 4 << 20
    max_stop_strings: int = 4
    max_stop_chars: int = 1024
    max_stop_token_ids: int = 64
    max_logprobs: int = 20
    max_answers: int = 8
    max_prompts: int = 32
    max_prompt_logprobs: int = 65_536
    default_tier: str = "default"
