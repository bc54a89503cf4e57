"""Tools of a request: which there are and which must, may or must not be called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestrator.core.quote import quoted
from orchestrator.frontend.http.fields import Fields, describe
from orchestrator.frontend.http.output_form import OutputForm, json_form
from orchestrator.frontend.http.tool_schema import calls_schema
from orchestrator.frontend.text import InvalidRequest

TOOL_FIELDS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
MAX_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = 'send "none", "auto", "required" or {"type": "function", "function": {"name": "…"}}'


class ToolMode(StrEnum):
    """What the output holds."""

    AUTO = "auto"  # whatever the model likes, calls in its own notation
    NAMED = "named"  # the arguments of one function
    ONE = "one"  # one call, with its name
    MANY = "many"  # a list of calls


@dataclass(frozen=True, slots=True)
class ToolUse:
    """`tools` are as OpenAI's chat writes them, for the model's template. `name` is that of the function in mode NAMED."""

    mode: ToolMode
    tools: tuple[dict[str, Any], ...]
    name: str = ""
    form: OutputForm | None = None

    @property
    def forced(self) -> bool:
        return self.mode is not ToolMode.AUTO


def read_tools(fields: Fields) -> ToolUse | None:
    """The tools that may be called, None where none may; raises InvalidRequest."""
    given = fields.written("tools")
    choice = fields.get("tool_choice")
    several = fields.boolean("parallel_tool_calls", True)
    if given is not None and not isinstance(given, list):
        raise fields.wrong("tools", given, 'a list such as [{"type": "function", "function": {"name": "…"}}]')
    tools = _tools(fields, given or [])
    named = _choice(fields, choice)
    if choice == "none" or (not tools and choice in (None, "auto")):
        return None
    if not tools:
        raise InvalidRequest("'tool_choice' asks for a call and 'tools' is empty: send the tools.", "tool_choice")
    shown = tuple(tools.values())
    if choice in (None, "auto"):
        return ToolUse(ToolMode.AUTO, shown)
    schemas = {name: _parameters(tool) for name, tool in tools.items()}
    if named is None:
        mode = ToolMode.MANY if several else ToolMode.ONE
        return ToolUse(mode, shown, form=json_form(calls_schema(schemas, several), fields.name("tools")))
    if named not in tools:
        known = ", ".join(tools)
        raise InvalidRequest(
            f"'tool_choice' names {quoted(named)} and 'tools' has {known[:200]}: correct one of them.", "tool_choice"
        )
    return ToolUse(ToolMode.NAMED, shown, named, json_form(schemas[named], fields.name("tools")))


def _tools(fields: Fields, given: list[Any]) -> dict[str, dict[str, Any]]:
    if len(given) > MAX_TOOLS:
        raise InvalidRequest(f"'tools' has {len(given)} tools: send at most {MAX_TOOLS}.", "tools")
    tools: dict[str, dict[str, Any]] = {}
    for i, value in enumerate(given):
        where = fields.name(f"tools[{i}]")
        if (
            not isinstance(value, dict)
            or value.get("type") != "function"
            or not isinstance(value.get("function"), dict)
        ):
            raise InvalidRequest(
                f'{where!r} is no function: only {{"type": "function", "function": {{"name": "…"}}}} is supported.',
                where,
            )
        function = Fields(value["function"], f"{where}.function.")
        function.refuse_unknown({"name", "description", "parameters", "strict"})
        name = function.string("name")
        if name is None or not _NAME.fullmatch(name) or name in tools:
            raise InvalidRequest(
                f"{function.name('name')!r} is {describe(name)}: send 1 to 64 letters, digits, '_' or '-', once per tool.",
                function.name("name"),
            )
        function.string("description")
        function.boolean("strict")  # parameters are enforced either way
        parameters = value["function"].get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise function.wrong("parameters", parameters, "a JSON Schema, an object")
        if parameters and parameters.get("type", "object") != "object":
            raise InvalidRequest(
                f"{function.name('parameters')!r} describes no object: send a schema of type object.",
                function.name("parameters"),
            )
        tools[name] = {"type": "function", "function": value["function"]}
    return tools


def _parameters(tool: dict[str, Any]) -> dict[str, Any]:
    """The schema of a function's arguments. One without parameters takes an empty object."""
    parameters = tool["function"].get("parameters")
    if not parameters:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return {"type": "object", **parameters}


def _choice(fields: Fields, choice: object) -> str | None:
    """The function that must be called, if one is named."""
    if choice in (None, "none", "auto", "required"):
        return None
    if isinstance(choice, dict) and choice.get("type") == "function" and isinstance(choice.get("function"), dict):
        name = choice["function"].get("name")
        if isinstance(name, str):
            return name
    raise InvalidRequest(f"{fields.name('tool_choice')!r} is {describe(choice)}: {_CHOICES}.", "tool_choice")
