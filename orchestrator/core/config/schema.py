"""The JSON schema of `cluster.yaml`, made from the dataclasses, for editors and other tools."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any

from orchestrator.core.cluster import Role
from orchestrator.core.config.cluster import API_VERSION, KIND, Metadata, Spec
from orchestrator.core.config.dump import to_plain
from orchestrator.core.config.policies import ParameterInfo, PolicyCatalog, PolicyChoice, PolicyInfo
from orchestrator.core.config.settings import Rule, Setting, camel, items_of, optional, settings

Schema = dict[str, Any]
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def schema(policies: PolicyCatalog | None = None) -> Schema:
    """JSON Schema 2020-12. With `policies` (`registry.catalog()`) it also knows their names and parameters.

    It accepts every file that the loader accepts; rules between fields are the loader's alone.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tandem cluster",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": KIND},
            "metadata": _section(Metadata, policies, nullable=True),
            "spec": _section(Spec, policies, nullable=True),
        },
    }


def _section(kind: type, policies: PolicyCatalog | None, nullable: bool = False) -> Schema:
    fields = settings(kind)
    schema: Schema = {"type": ["object", "null"] if nullable else "object", "additionalProperties": False}
    if required := [s.key for s in fields if s.required]:
        schema["required"] = required
    schema["properties"] = {s.key: _setting(s, policies) for s in fields}
    return schema


def _setting(s: Setting, policies: PolicyCatalog | None) -> Schema:
    kind, nullable = optional(s.type)
    item = items_of(kind)
    if kind is PolicyChoice:
        schema = _policy(list(policies[s.name].values()) if policies is not None else None)
    elif item is not None:
        schema = {"type": "array", "minItems": 1, "items": _section(item, policies)}
    elif dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        schema = _section(kind, policies, nullable=True)
    else:
        schema = _scalar(kind, s.rule)
    if nullable and "anyOf" not in schema:
        schema = {**schema, "type": [schema["type"], "null"]}
    elif nullable:
        schema["anyOf"].append({"type": "null"})
    schema["description"] = s.rule.doc
    if not s.required and not dataclasses.is_dataclass(s.default) and s.default is not None:
        schema["default"] = to_plain(s.default)
    return schema


def _scalar(kind: Any, rule: Rule) -> Schema:
    if kind is Role:
        return {"type": "string", "enum": [str(role) for role in Role.__members__.values()]}
    if issubclass(kind, StrEnum):
        return {"type": "string", "enum": [member.value for member in kind]}
    bounds = {"minimum": rule.minimum, "maximum": rule.maximum}
    schema: Schema = {"type": _TYPES[kind]} | {key: bound for key, bound in bounds.items() if bound is not None}
    if kind is str:
        schema["pattern"] = f"^({rule.pattern})$" if rule.pattern else r"\S"
    if rule.quantity:
        return {"anyOf": [schema, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMGT]i?)?B?$"}]}
    return schema


def _policy(known: list[PolicyInfo] | None) -> Schema:
    if known is None:
        body: Schema = {"type": "object", "required": ["name"], "additionalProperties": False}
        body["properties"] = {"name": {"type": "string"}, "parameters": {"type": ["object", "null"]}}
        return {"anyOf": [{"type": "string"}, body]}
    return {"anyOf": [{"enum": [info.name for info in known]}, *map(_parameters, known)]}


def _parameters(info: PolicyInfo) -> Schema:
    parameters: Schema = {"type": ["object", "null"], "additionalProperties": False}
    parameters["properties"] = {camel(p.name): _parameter(p) for p in info.parameters}
    return {
        "type": "object",
        "description": info.summary,
        "required": ["name"],
        "additionalProperties": False,
        "properties": {"name": {"const": info.name}, "parameters": parameters},
    }


def _parameter(p: ParameterInfo) -> Schema:
    return _scalar(p.type, Rule(p.doc, p.minimum, p.maximum)) | {"description": p.doc, "default": p.default}
