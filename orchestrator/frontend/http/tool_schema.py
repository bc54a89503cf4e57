"""The schema of tool calls as one JSON text."""

from __future__ import annotations

from typing import Any

MAX_CALLS = 8
"""Calls in one answer: without a bound a small model may go on until its tokens are spent."""
# Their values are data, in which "$ref" means nothing.
_DATA = frozenset({"const", "enum", "default", "examples"})
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def calls_schema(tools: dict[str, dict[str, Any]], several: bool) -> dict[str, Any]:
    """One call, {"name": …, "arguments": …}, or a list of 1 to MAX_CALLS. `tools` has the schema of the arguments by name.

    Each schema becomes a definition, and what it refers to within itself is found there.
    """
    definitions = {name: _moved(schema, f"#/$defs/{name}") for name, schema in tools.items()}
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{name}"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for name in tools
    ]
    call = calls[0] if len(calls) == 1 else {"anyOf": calls}
    if not several:
        return {**call, "$defs": definitions}
    return {"type": "array", "minItems": 1, "maxItems": MAX_CALLS, "items": call, "$defs": definitions}


def _moved(schema: Any, place: str, names: bool = False) -> Any:
    """`schema` with its references to itself as they are when it lies at `place`. The keys of a map of `names` are no keywords."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {}
    for key, value in schema.items():
        if names:
            moved[key] = _moved(value, place)
        elif key == "$ref" and isinstance(value, str) and (value == "#" or value.startswith("#/")):
            moved[key] = place + value[1:]
        else:
            moved[key] = value if key in _DATA else _moved(value, place, key in _MAPS)
    return moved
