"""The form that an output must have: OpenAI's `response_format` and vLLM's `structured_outputs`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from orchestrator.frontend.http.fields import Fields, describe
from orchestrator.frontend.text import InvalidRequest

FORM_FIELDS = frozenset({"response_format", "structured_outputs"})
_FORMATS = 'send {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", "json_schema": {…}}'
_SCHEMA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MEANT_BY_REGEX = re.compile(r"[\\.+*?()|\[\]{}^$]")
_KINDS = ("json", "json_object", "regex", "choice")
_OTHER_KINDS = {"grammar", "structural_tag"}
_HOW = {
    "disable_any_whitespace",
    "disable_additional_properties",
    "disable_fallback",
    "whitespace_pattern",
    "backend",
}


@dataclass(frozen=True, slots=True)
class OutputForm:
    """A JSON Schema (as JSON) or a regular expression, and the field that asked for it."""

    param: str
    json_schema: str | None = None
    regex: str | None = None


def read_form(fields: Fields) -> OutputForm | None:
    """The form that a body asks for, if any; raises InvalidRequest."""
    by_openai, by_vllm = _response_format(fields), _structured_outputs(fields)
    if by_openai is not None and by_vllm is not None:
        raise InvalidRequest(
            "'response_format' and 'structured_outputs' both bind the output: send one of them.", "structured_outputs"
        )
    return by_openai or by_vllm


def json_form(schema: dict[str, Any], param: str) -> OutputForm:
    """Output that follows `schema`."""
    try:
        return OutputForm(param, json_schema=json.dumps(schema, separators=(",", ":")))
    except RecursionError:
        raise InvalidRequest(f"{param!r} is nested too deeply: send a flatter schema.", param) from None


def schema_format(fields: Fields) -> OutputForm:
    """The schema of a `json_schema` format; `fields` holds name, schema, strict and description."""
    fields.refuse_unknown({"name", "schema", "strict", "description", "type"})
    name = fields.string("name")
    if name is None or not _SCHEMA_NAME.fullmatch(name):
        raise InvalidRequest(
            f"{fields.name('name')!r} is {describe(name)}: send 1 to 64 letters, digits, '_' or '-'.",
            fields.name("name"),
        )
    fields.boolean("strict")  # the schema is enforced either way
    fields.string("description")
    schema = fields.get("schema")
    if not isinstance(schema, dict):
        raise fields.wrong("schema", schema, "a JSON Schema, an object")
    return json_form(schema, fields.name("schema"))


def _response_format(fields: Fields) -> OutputForm | None:
    value = fields.get("response_format")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise fields.wrong("response_format", value, 'an object such as {"type": "json_object"}')
    kind = value.get("type")
    inner = Fields(value, "response_format.")
    inner.refuse_unknown({"type", "json_schema"} if kind == "json_schema" else {"type"})
    if kind == "text":
        return None
    if kind == "json_object":
        return json_form({"type": "object"}, "response_format")
    if kind != "json_schema":
        raise InvalidRequest(f"'response_format.type' is {describe(kind)}: {_FORMATS}.", "response_format.type")
    found = value.get("json_schema")
    if not isinstance(found, dict):
        raise inner.wrong("json_schema", found, 'an object such as {"name": "answer", "schema": {…}}')
    return schema_format(Fields(found, "response_format.json_schema."))


def _structured_outputs(fields: Fields) -> OutputForm | None:
    value = fields.get("structured_outputs")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise fields.wrong("structured_outputs", value, 'an object such as {"regex": "[0-9]+"}')
    inner = Fields(value, "structured_outputs.")
    inner.refuse_unknown({*_KINDS, *_OTHER_KINDS, *_HOW})
    for field in sorted(_OTHER_KINDS | _HOW):
        if value.get(field):
            raise InvalidRequest(
                f"{inner.name(field)!r} is not supported: use one of {', '.join(_KINDS)} alone.",
                inner.name(field),
                "unsupported_field",
            )
    given = [kind for kind in _KINDS if value.get(kind) is not None and value[kind] is not False]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise InvalidRequest(
            f"'structured_outputs' needs exactly one of {', '.join(_KINDS)}; it has {found}: correct it.",
            "structured_outputs",
        )
    return _one(inner, given[0])


def _one(fields: Fields, kind: str) -> OutputForm:
    value = fields.get(kind)
    param = fields.name(kind)
    if kind == "json_object":
        fields.boolean(kind)
        return json_form({"type": "object"}, param)
    if kind == "json":
        if isinstance(value, str):
            return OutputForm(param, json_schema=fields.clean(kind, value) or "null")
        if not isinstance(value, dict):
            raise fields.wrong(kind, value, "a JSON Schema, as an object or as a string")
        return json_form(value, param)
    if kind == "regex":
        if not fields.string(kind):
            raise fields.wrong(kind, value, "a regular expression for the whole output")
        return OutputForm(param, regex=value)
    if not isinstance(value, list) or not value or any(not isinstance(v, str) or not v for v in value):
        raise fields.wrong(kind, value, "a list of strings that are not empty")
    escaped = [_MEANT_BY_REGEX.sub(r"\\\g<0>", fields.clean(kind, v)) for v in value]
    return OutputForm(param, regex="|".join(f"({v})" for v in escaped))
