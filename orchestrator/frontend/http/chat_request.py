"""The body of POST /v1/chat/completions."""

from __future__ import annotations

from typing import Any

from orchestrator.frontend.http import options
from orchestrator.frontend.http.fields import Fields, describe
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options, read_options
from orchestrator.frontend.http.unsupported import CHAT_UNSUPPORTED, LABELS, refuse_unsupported
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import InvalidRequest
from orchestrator.frontend.text.template import ROLES

_FIELDS = options.FIELDS | LABELS | CHAT_UNSUPPORTED.keys() | {"messages", "max_completion_tokens", "top_logprobs"}


def read_chat(body: dict[str, Any], model: ModelInfo, limits: Limits) -> tuple[list[dict[str, str]], Options]:
    """Messages for the template (role, content and, where given, name) and options; raises InvalidRequest."""
    fields = Fields(body)
    fields.refuse_unknown(_FIELDS)
    refuse_unsupported(fields, CHAT_UNSUPPORTED)
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
    return [_message(i, m) for i, m in enumerate(messages)], read_options(
        fields, model, limits, _logprobs(fields, limits)
    )


def _message(index: int, value: object) -> dict[str, str]:
    where = f"messages[{index}]"
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"{where!r} is {describe(value)}: send an object with role and content.", where, "invalid_type"
        )
    fields = Fields(value, f"{where}.")
    for unsupported in ("tool_calls", "tool_call_id", "function_call", "audio", "refusal"):
        if fields.get(unsupported):
            raise InvalidRequest(
                f"{fields.name(unsupported)!r} is not supported: put it into the content as text.",
                fields.name(unsupported),
                "unsupported_field",
            )
    fields.refuse_unknown(
        {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "audio", "refusal"}
    )
    role = fields.string("role")
    if role not in ROLES:
        raise InvalidRequest(
            f"{fields.name('role')!r} is {describe(role)}: use system, developer, user or assistant.",
            fields.name("role"),
        )
    message = {"role": ROLES[role], "content": _content(fields)}
    name = fields.string("name")
    return message if name is None else message | {"name": name}


def _content(fields: Fields) -> str:
    value = fields.get("content")
    if value is None:
        raise InvalidRequest(
            f"{fields.name('content')!r} is missing: send the text of the message.",
            fields.name("content"),
            "missing_field",
        )
    if isinstance(value, str):
        return fields.clean("content", value)
    if not isinstance(value, list):
        raise fields.wrong("content", value, "a string or a list of text parts")
    parts = []
    for i, part in enumerate(value):
        where = fields.name(f"content[{i}]")
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise InvalidRequest(
                f'{where!r} is no text part: only {{"type": "text", "text": "…"}} is supported.', where
            )
        parts.append(fields.clean("content", part["text"]))
    return "".join(parts)


def _logprobs(fields: Fields, limits: Limits) -> int | None:
    top = fields.integer("top_logprobs", 0, limits.max_logprobs)
    if fields.boolean("logprobs"):
        return top or 0
    if top is not None:
        raise InvalidRequest("'top_logprobs' needs 'logprobs': true; set it or remove 'top_logprobs'.", "top_logprobs")
    return None
