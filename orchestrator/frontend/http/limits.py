"""Limits of the HTTP API, and the bounds of its server as the configuration sets them."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.config.services import FrontDoor
from orchestrator.frontend.http.server import Bounds


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_answers` bounds `n`, `max_prompts` the prompts of one completion times `n`.

    `max_prompt_logprobs` bounds the log-probabilities of prompt tokens that one request may ask for, alternatives counted.
    """

    max_stop_strings: int = 4
    max_stop_chars: int = 1024
    max_stop_token_ids: int = 64
    max_logprobs: int = 20
    max_answers: int = 8
    max_prompts: int = 32
    max_prompt_logprobs: int = 65_536


def bounds_of(door: FrontDoor) -> Bounds:
    """What clients may cost a server with this configuration. Writing pauses where a quarter of a backlog has piled up."""
    return Bounds(
        max_connections=door.max_connections,
        max_body_bytes=door.max_body_bytes,
        max_buffered_bytes=door.max_buffered_bytes,
        header_timeout_s=door.header_timeout_s,
        body_timeout_s=door.body_timeout_s,
        keep_alive_s=door.keep_alive_s,
        backlog_bytes=door.max_backlog_bytes // 4,
        max_backlog_bytes=door.max_backlog_bytes,
        stall_s=door.stall_timeout_s,
    )
