"""The body of POST /v1/completions."""

from __future__ import annotations

from typing import Any

from orchestrator.frontend.http import options
from orchestrator.frontend.http.fields import Fields
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options, read_options
from orchestrator.frontend.http.unsupported import COMPLETION_UNSUPPORTED, LABELS, refuse_unsupported
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import InvalidRequest

_FIELDS = options.FIELDS | LABELS | COMPLETION_UNSUPPORTED.keys() | {"prompt"}


def read_completion(body: dict[str, Any], model: ModelInfo, limits: Limits) -> tuple[str | list[int], Options]:
    """The prompt as text or as a list that `token_array` checks, and options; raises InvalidRequest."""
    fields = Fields(body)
    fields.refuse_unknown(_FIELDS)
    refuse_unsupported(fields, COMPLETION_UNSUPPORTED)
    logprobs = fields.integer("logprobs", 0, limits.max_logprobs)
    return _prompt(fields), read_options(fields, model, limits, logprobs)


def _prompt(fields: Fields) -> str | list[int]:
    value = fields.get("prompt")
    if value is None:
        raise InvalidRequest("'prompt' is missing: send a string or a list of token ids.", "prompt", "missing_field")
    if isinstance(value, list) and value and isinstance(value[0], (str, list)):
        if len(value) > 1:
            raise InvalidRequest(f"'prompt' has {len(value)} prompts: send one request for each.", "prompt")
        value = value[0]
    if isinstance(value, str):
        return fields.clean("prompt", value)
    if not isinstance(value, list):
        raise fields.wrong("prompt", value, "a string or a list of token ids")
    return value
