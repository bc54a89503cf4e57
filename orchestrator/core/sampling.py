"""How the next token is chosen, and why a request stopped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Finish(StrEnum):
    """Why a request ended. `STOP` is an end token or a stop token id; stop strings are found by the front door."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of one request.

    The random number for output token `index` depends on (`seed`, `index`) alone, so any worker can continue a request
    and draw what the first would have drawn. `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 keep every token.
    `logprobs` is the number of alternatives to report per token, or None for no log-probabilities at all; `prompt_logprobs` the
    same for the prompt's tokens from the second on. The whole output follows `json_schema` (a JSON object, as text) or `regex`;
    at most one of them is given (`core.grammar`), and an engine refuses both.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    json_schema: str | None = None
    regex: str | None = None
    prompt_logprobs: int | None = None
