"""Fields that chat and completions share: how to sample, when to stop, how to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.core.sampling import Sampling
from orchestrator.frontend.http.extras import Extras
from orchestrator.frontend.http.fields import Fields
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import InvalidRequest
from orchestrator.frontend.text.budget import SEED_BITS, draw_seed

FIELDS = frozenset(
    {
        "model",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "logprobs",
    }
    | {"ignore_eos", "stop_token_ids"}
)
_MAX_TOKENS = 1 << 31


@dataclass(frozen=True, slots=True)
class Options:
    """`max_tokens` None means the rest of the context. `logprobs` is the number of alternatives per token, None for no report.

    `extras` is None for a request of one plain answer. `repeated` are fields of the request that its answer shows.
    """

    max_tokens: int | None
    max_tokens_field: str
    temperature: float
    top_p: float
    top_k: int
    seed: int
    stops: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    ignore_eos: bool
    logprobs: int | None
    stream: bool
    include_usage: bool
    extras: Extras | None = None
    repeated: dict[str, Any] | None = None

    def sampling(self, max_tokens: int) -> Sampling:
        """For the engines, with the output budget decided."""
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            seed=self.seed,
            stop_token_ids=self.stop_token_ids,
            ignore_eos=self.ignore_eos,
            logprobs=self.logprobs,
        )


def read_options(
    fields: Fields, model: ModelInfo, limits: Limits, logprobs: int | None, extras: Extras | None
) -> Options:
    """Read the shared fields; raises InvalidRequest."""
    stream = fields.boolean("stream")
    field, max_tokens = _max_tokens(fields)
    top_k = fields.integer("top_k", -1, _MAX_TOKENS) or 0
    seed = fields.integer("seed", -(1 << 63), (1 << 64) - 1)
    temperature = fields.number("temperature", 0, 2)
    top_p = fields.number("top_p", 0, 1, above_low=True)
    return Options(
        max_tokens=max_tokens,
        max_tokens_field=field,
        temperature=1.0 if temperature is None else temperature,
        top_p=1.0 if top_p is None else top_p,
        top_k=0 if top_k < 0 or top_k >= model.vocab_size else top_k,
        seed=draw_seed() if seed is None else seed & ((1 << SEED_BITS) - 1),
        stops=_stops(fields, limits),
        stop_token_ids=_stop_token_ids(fields, model, limits),
        ignore_eos=fields.boolean("ignore_eos"),
        logprobs=logprobs,
        stream=stream,
        include_usage=_include_usage(fields, stream),
        extras=extras,
    )


def _max_tokens(fields: Fields) -> tuple[str, int | None]:
    """The field that bounds the output, and its value. The two names mean the same."""
    old, new = (fields.integer(name, 1, _MAX_TOKENS) for name in ("max_tokens", "max_completion_tokens"))
    if old is not None and new is not None and old != new:
        raise InvalidRequest(
            f"'max_tokens' is {old} and 'max_completion_tokens' is {new}: they mean the same, send one of them.",
            "max_completion_tokens",
        )
    return ("max_tokens", old) if new is None else ("max_completion_tokens", new)


def _stops(fields: Fields, limits: Limits) -> tuple[str, ...]:
    value = fields.get("stop")
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or any(not isinstance(s, str) for s in stops):
        raise fields.wrong("stop", value, "a string or a list of strings")
    if len(stops) > limits.max_stop_strings:
        raise InvalidRequest(f"'stop' has {len(stops)} strings: send at most {limits.max_stop_strings}.", "stop")
    for stop in stops:
        if not stop or len(stop) > limits.max_stop_chars:
            raise InvalidRequest(
                f"A stop string has {len(stop)} characters: use 1 to {limits.max_stop_chars}, or leave 'stop' out.",
                "stop",
            )
        fields.clean("stop", stop)
    return tuple(stops)


def _stop_token_ids(fields: Fields, model: ModelInfo, limits: Limits) -> tuple[int, ...]:
    ids = fields.get("stop_token_ids")
    if ids is None:
        return ()
    if not isinstance(ids, list) or any(isinstance(i, bool) or not isinstance(i, int) for i in ids):
        raise fields.wrong("stop_token_ids", ids, "a list of integers")
    if len(ids) > limits.max_stop_token_ids or any(not 0 <= i < model.vocab_size for i in ids):
        raise InvalidRequest(
            f"'stop_token_ids' must be at most {limits.max_stop_token_ids} ids from 0 to {model.vocab_size - 1}: correct the list.",
            "stop_token_ids",
        )
    return tuple(dict.fromkeys(ids))


def _include_usage(fields: Fields, stream: bool) -> bool:
    value = fields.get("stream_options")
    if value is None:
        return False
    if not stream:
        raise InvalidRequest(
            "'stream_options' needs 'stream': true; set it or remove 'stream_options'.", "stream_options"
        )
    if not isinstance(value, dict):
        raise fields.wrong("stream_options", value, 'an object such as {"include_usage": true}')
    options = Fields(value, "stream_options.")
    options.refuse_unknown({"include_usage"})
    return options.boolean("include_usage")
