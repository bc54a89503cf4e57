"""The body of POST /v1/completions."""

from __future__ import annotations

from typing import Any

from orchestrator.frontend.http import extras, options
from orchestrator.frontend.http.fields import Fields
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options, read_options
from orchestrator.frontend.http.unsupported import COMPLETION_UNSUPPORTED, LABELS, refuse_unsupported
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import InvalidRequest

_FIELDS = options.FIELDS | extras.COMPLETION_FIELDS | LABELS | COMPLETION_UNSUPPORTED.keys() | {"prompt"}
Prompt = str | list[Any]


def read_completion(
    body: dict[str, Any], model: ModelInfo, limits: Limits
) -> tuple[Prompt | tuple[Prompt, ...], Options]:
    """The prompt, as text or as a list that `token_array` checks, or several, and options; raises InvalidRequest."""
    fields = Fields(body)
    fields.refuse_unknown(_FIELDS)
    refuse_unsupported(fields, COMPLETION_UNSUPPORTED)
    logprobs = fields.integer("logprobs", 0, limits.max_logprobs)
    prompt = _prompts(fields)
    wanted = extras.read_completion_extras(fields, limits, isinstance(prompt, tuple))
    if wanted is not None and isinstance(prompt, tuple) and len(prompt) * wanted.n > limits.max_prompts:
        raise InvalidRequest(
            f"'prompt' has {len(prompt)} prompts, 'n' is {wanted.n}: ask for at most {limits.max_prompts} answers.",
            "prompt",
        )
    return prompt, read_options(fields, model, limits, logprobs, wanted)


def _prompts(fields: Fields) -> Prompt | tuple[Prompt, ...]:
    value = fields.get("prompt")
    if value is None:
        raise InvalidRequest("'prompt' is missing: send a string or a list of token ids.", "prompt", "missing_field")
    if isinstance(value, list) and value and isinstance(value[0], (str, list)):
        prompts = tuple(_prompt(fields, item) for item in value)
        return prompts[0] if len(prompts) == 1 else prompts
    return _prompt(fields, value)


def _prompt(fields: Fields, value: object) -> Prompt:
    if isinstance(value, str):
        return fields.clean("prompt", value)
    if not isinstance(value, list):
        raise fields.wrong("prompt", value, "a string or a list of token ids")
    return value
