"""Single values: YAML scalar → the type that a setting asks for, checked against its rule."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Any

import yaml

from orchestrator.core.cluster import Role
from orchestrator.core.config.problems import did_you_mean
from orchestrator.core.config.settings import Rule

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_EXAMPLES: dict[type, Any] = {int: 8, float: 0.5, bool: "true or false", str: "text"}
_NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class Wrong(Exception):
    """A value does not fit: (why, what to do)."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def plain(node: yaml.ScalarNode) -> Any:
    """The Python value of a scalar: None, bool, int, float or str (dates and unknown tags stay text)."""
    tag = node.tag.rpartition(":")[2]
    loader = yaml.SafeLoader("")
    try:
        match tag:
            case "null":
                return None
            case "bool":
                return loader.construct_yaml_bool(node)
            case "int":
                return loader.construct_yaml_int(node)
            case "float":
                return loader.construct_yaml_float(node)
    except ValueError:
        pass  # a number that Python cannot hold is reported as the text that it is
    # YAML 1.1 reads 1e3 as text; people and JSON mean a number.
    if node.style is None and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", node.value):
        return float(node.value)
    return node.value


def convert(value: Any, kind: Any, rule: Rule) -> Any:
    """`value` as `kind` (bool, int, float, str, Role or a StrEnum) within `rule`; raises Wrong."""
    if kind is Role:
        return _role(value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if value not in {member.value for member in kind}:
            raise Wrong("it is not one of the choices", did_you_mean(str(value), [m.value for m in kind]))
        return kind(value)
    if rule.quantity:
        value = _quantity(value)
    return in_range(typed(value, kind, rule), rule)


def typed(value: Any, kind: type, rule: Rule) -> Any:
    """`value` if it is of `kind` (an int is a float too, a bool is no int); raises Wrong, with an example in `rule`."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        if kind is str and not isinstance(value, str | None):
            raise Wrong("it must be text", "put it in quotes")
        if kind in (int, float) and isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+(\.\d*)?\s*", value):
            raise Wrong(f"it must be {_NOUNS[kind]} but is in quotes", f"write {value.strip()} without quotes")
        raise Wrong(f"it must be {_NOUNS[kind]}", f"write {_example(kind, rule)}, or remove the line")
    return value


def in_range(value: Any, rule: Rule) -> Any:
    """`value` if `rule` allows it; raises Wrong."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong("it must be finite", "write a number")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = rule.minimum, rule.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            least, most = (None if bound is None else _digits(bound) for bound in (low, high))
            bounds = (
                f"at least {least}" if most is None else f"at most {most}" if least is None else f"{least} to {most}"
            )
            raise Wrong("it is out of range", f"use {bounds}")
    if isinstance(value, str):
        if not value.strip():
            raise Wrong("it is empty", "write a value or remove the line")
        if rule.pattern and not re.fullmatch(rule.pattern, value):
            raise Wrong("it is malformed", f"use {rule.pattern_help or 'text without spaces'}")
    return value


def _example(kind: type, rule: Rule) -> str:
    """A value of `kind` that `rule` allows."""
    example = _EXAMPLES[kind]
    if isinstance(example, str):
        return example
    example = example if rule.minimum is None else max(example, rule.minimum)
    return _digits(example if rule.maximum is None else min(example, rule.maximum))


def _digits(number: float) -> str:
    """Whole numbers with every digit: 268435456 rather than 2.68435e+08."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _role(value: Any) -> Role:
    try:
        return Role.parse(str(value))
    except ValueError:
        raise Wrong("it is no role", did_you_mean(str(value), ["prefill", "decode", "both"])) from None


def _quantity(value: Any) -> Any:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?|)B?", value)
        if not match:
            raise Wrong("it is no size", "write bytes or a number with Ki, Mi, Gi or Ti, such as 2Gi")
        return int(float(match[1]) * _UNITS[match[2]])
    return value
