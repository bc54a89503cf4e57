"""The messages of a chat."""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.frontend.http.fields import Fields, describe
from orchestrator.frontend.text import InvalidRequest
from orchestrator.frontend.text.template import ROLES

_FIELDS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "audio", "refusal", "annotations"}
)
_UNSUPPORTED = ("function_call", "audio", "refusal", "annotations")
_RARE = _FIELDS - {"role", "content", "name"}


def read_messages(values: list[Any]) -> tuple[list[dict[str, Any]], str | None]:
    """Messages for the template, and the name of the first field about tools; raises InvalidRequest."""
    messages, tool_param = [], None
    for i, value in enumerate(values):
        message = _message(i, value)
        messages.append(message)
        if tool_param is None and (message["role"] == "tool" or "tool_calls" in message):
            tool_param = f"messages[{i}].{'role' if message['role'] == 'tool' else 'tool_calls'}"
    return messages, tool_param


def text_content(fields: Fields, kinds: tuple[str, ...] = ("text",), name: str = "content") -> str:
    """A string, or parts of text joined; `kinds` are the types that such parts may have."""
    value = fields.get(name)
    if value is None:
        raise InvalidRequest(
            f"{fields.name(name)!r} is missing: send the text of the message.", fields.name(name), "missing_field"
        )
    if isinstance(value, str):
        return fields.clean(name, value)
    if not isinstance(value, list):
        raise fields.wrong(name, value, "a string or a list of text parts")
    parts = []
    for i, part in enumerate(value):
        where = fields.name(f"{name}[{i}]")
        if not isinstance(part, dict) or part.get("type") not in kinds or not isinstance(part.get("text"), str):
            raise InvalidRequest(
                f'{where!r} is no text part: only {{"type": "{kinds[0]}", "text": "…"}} is supported.', where
            )
        parts.append(fields.clean(name, part["text"]))
    return "".join(parts)


def call_arguments(fields: Fields) -> dict[str, Any]:
    """The arguments of a call, parsed, since templates write them out themselves."""
    text = fields.string("arguments")
    try:
        value = orjson.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise fields.wrong("arguments", text, "a JSON object, as a string")
    return value


def _message(index: int, value: object) -> dict[str, Any]:
    where = f"messages[{index}]"
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"{where!r} is {describe(value)}: send an object with role and content.", where, "invalid_type"
        )
    fields = Fields(value, f"{where}.")
    fields.refuse_unknown(_FIELDS)
    role = fields.string("role")
    if fields.has_any(_RARE):
        _refuse_rare(fields, role)
    if role == "tool":
        return _result(fields)
    if role not in ROLES:
        raise InvalidRequest(
            f"{fields.name('role')!r} is {describe(role)}: use system, developer, user, assistant or tool.",
            fields.name("role"),
        )
    calls = fields.get("tool_calls")
    if calls:
        content = "" if fields.get("content") is None else text_content(fields)
        message: dict[str, Any] = {"role": role, "content": content, "tool_calls": _calls(fields, calls)}
    else:
        message = {"role": ROLES[role], "content": text_content(fields)}
    name = fields.string("name")
    return message if name is None else message | {"name": name}


def _refuse_rare(fields: Fields, role: str | None) -> None:
    misplaced = [("tool_calls", "assistant"), ("tool_call_id", "tool")]
    for field in (*_UNSUPPORTED, *(field for field, owner in misplaced if role != owner)):
        if fields.get(field):
            raise InvalidRequest(
                f"{fields.name(field)!r} is not supported in this message: put it into the content as text.",
                fields.name(field),
                "unsupported_field",
            )


def _result(fields: Fields) -> dict[str, Any]:
    call = fields.string("tool_call_id")
    if call is None:
        raise InvalidRequest(
            f"{fields.name('tool_call_id')!r} is missing: send the id of the call that this answers.",
            fields.name("tool_call_id"),
            "missing_field",
        )
    message = {"role": "tool", "content": text_content(fields), "tool_call_id": call}
    name = fields.string("name")
    return message if name is None else message | {"name": name}


def _calls(fields: Fields, values: object) -> list[dict[str, Any]]:
    if not isinstance(values, list):
        raise fields.wrong("tool_calls", values, "a list")
    calls = []
    for i, value in enumerate(values):
        where = fields.name(f"tool_calls[{i}]")
        if not isinstance(value, dict) or value.get("type", "function") != "function":
            raise InvalidRequest(f"{where!r} is no call of a function: correct it.", where)
        function = value.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidRequest(f"{where + '.function'!r} has no name: send name and arguments.", f"{where}.function")
        inner = Fields(function, f"{where}.function.")
        name = inner.clean("name", function["name"])
        identity = Fields(value, f"{where}.").string("id")
        calls.append(
            {"id": identity, "type": "function", "function": {"name": name, "arguments": call_arguments(inner)}}
        )
    return calls
