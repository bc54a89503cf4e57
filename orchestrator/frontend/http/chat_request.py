"""The body of POST /v1/chat/completions."""

from __future__ import annotations

from typing import Any

from orchestrator.frontend.http import extras, options
from orchestrator.frontend.http.conversation import Conversation
from orchestrator.frontend.http.fields import Fields
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.messages import read_messages
from orchestrator.frontend.http.options import Options, read_options
from orchestrator.frontend.http.unsupported import CHAT_UNSUPPORTED, LABELS, refuse_unsupported
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import InvalidRequest

_FIELDS = (
    options.FIELDS
    | extras.CHAT_FIELDS
    | LABELS
    | CHAT_UNSUPPORTED.keys()
    | {"messages", "max_completion_tokens", "top_logprobs"}
)


def read_chat(body: dict[str, Any], model: ModelInfo, limits: Limits) -> tuple[Conversation, Options]:
    """The conversation and options; raises InvalidRequest."""
    fields = Fields(body)
    fields.refuse_unknown(_FIELDS)
    refuse_unsupported(fields, CHAT_UNSUPPORTED)
    messages, tool_param = read_messages(_messages(fields))
    wanted = extras.read_chat_extras(fields, limits)
    found = read_options(fields, model, limits, _logprobs(fields, limits), wanted)
    return Conversation(messages, None if wanted is None else wanted.tools, tool_param), found


def _messages(fields: Fields) -> list[Any]:
    messages = fields.get("messages")
    if messages is None:
        raise InvalidRequest(
            '\'messages\' is missing: send a list such as [{"role": "user", "content": "…"}].',
            "messages",
            "missing_field",
        )
    if not isinstance(messages, list):
        raise fields.wrong("messages", messages, 'a list such as [{"role": "user", "content": "…"}]')
    if not messages:
        raise InvalidRequest("'messages' is empty: send at least one message.", "messages")
    return messages


def _logprobs(fields: Fields, limits: Limits) -> int | None:
    top = fields.integer("top_logprobs", 0, limits.max_logprobs)
    if fields.boolean("logprobs"):
        return top or 0
    if top is not None:
        raise InvalidRequest("'top_logprobs' needs 'logprobs': true; set it or remove 'top_logprobs'.", "top_logprobs")
    return None
