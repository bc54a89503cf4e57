"""Bounds of the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`default_tier` is the tier of requests that name none."""

    max_body_bytes: int = 4 << 20
    max_stop_strings: int = 4
    max_stop_chars: int = 1024
    max_stop_token_ids: int = 64
    max_logprobs: int = 20
    default_tier: str = "default"
