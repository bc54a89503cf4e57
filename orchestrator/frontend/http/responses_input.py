"""The input of POST /v1/responses as messages for the template."""

from __future__ import annotations

from typing import Any

from orchestrator.frontend.http.fields import Fields, describe
from orchestrator.frontend.http.messages import call_arguments, text_content
from orchestrator.frontend.text import InvalidRequest
from orchestrator.frontend.text.template import ROLES

_TEXTS = ("input_text", "output_text", "text")


def read_input(fields: Fields) -> tuple[list[dict[str, Any]], str | None]:
    """Messages, the instructions first, and the name of the first item about tools; raises InvalidRequest."""
    messages: list[dict[str, Any]] = []
    instructions = fields.string("instructions")
    if instructions:
        messages.append({"role": "system", "content": instructions})
    given = fields.get("input")
    if given is None:
        raise InvalidRequest("'input' is missing: send a string or a list of items.", "input", "missing_field")
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": fields.clean("input", given)}], None
    if not isinstance(given, list):
        raise fields.wrong("input", given, "a string or a list of items")
    if not given:
        raise InvalidRequest("'input' is empty: send at least one item.", "input")
    tool_param = None
    for i, item in enumerate(given):
        where = f"input[{i}]"
        if not isinstance(item, dict):
            raise InvalidRequest(f"{where!r} is {describe(item)}: send an object.", where, "invalid_type")
        inner = Fields(item, f"{where}.")
        kind = item.get("type", "message")
        if kind == "message":
            messages.append(_message(inner))
            continue
        if kind == "function_call":
            _add_call(messages, inner)
        elif kind == "function_call_output":
            messages.append(_result(inner))
        else:
            raise InvalidRequest(
                f"{inner.name('type')!r} is {describe(kind)}: send message, function_call or function_call_output.",
                inner.name("type"),
            )
        tool_param = tool_param or inner.name("type")
    return messages, tool_param


def _message(fields: Fields) -> dict[str, Any]:
    fields.refuse_unknown({"type", "role", "content", "id", "status", "phase"})
    role = fields.string("role")
    if role not in ROLES:
        raise InvalidRequest(
            f"{fields.name('role')!r} is {describe(role)}: use system, developer, user or assistant.",
            fields.name("role"),
        )
    return {"role": ROLES[role], "content": _text(fields, "content")}


def _text(fields: Fields, name: str) -> str:
    return text_content(fields, _TEXTS, name)


def _add_call(messages: list[dict[str, Any]], fields: Fields) -> None:
    """Calls that follow one another are of one message."""
    fields.refuse_unknown({"type", "call_id", "name", "arguments", "id", "status"})
    name = fields.string("name")
    if not name:
        raise InvalidRequest(f"{fields.name('name')!r} is missing: send the function's name.", fields.name("name"))
    call = {
        "id": fields.string("call_id"),
        "type": "function",
        "function": {"name": name, "arguments": call_arguments(fields)},
    }
    if messages and "tool_calls" in messages[-1]:
        messages[-1]["tool_calls"].append(call)
    else:
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})


def _result(fields: Fields) -> dict[str, Any]:
    fields.refuse_unknown({"type", "call_id", "output", "id", "status"})
    call = fields.string("call_id")
    if not call:
        raise InvalidRequest(
            f"{fields.name('call_id')!r} is missing: send the id of the call that this answers.",
            fields.name("call_id"),
            "missing_field",
        )
    return {"role": "tool", "content": _text(fields, "output"), "tool_call_id": call}
