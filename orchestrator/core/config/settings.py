"""How a setting of `cluster.yaml` is declared: a dataclass field whose metadata holds its range and its help."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any

NAME = r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"
NAME_HELP = "1 to 63 lower-case letters, digits, '-', '_' or '.', that start and end with a letter or a digit"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must satisfy besides its type. `minimum` and `maximum` are inclusive; `unit` is shown in messages.

    `quantity` marks a size in bytes that may be written as `512Mi`, and whose YAML name lacks the `_bytes` suffix.
    """

    doc: str
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    pattern_help: str = ""
    quantity: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a section: its Python name, its YAML name, its resolved type and its rule."""

    name: str
    key: str
    type: Any
    rule: Rule
    required: bool
    default: Any


def setting(
    doc: str,
    default: Any = MISSING,
    *,
    factory: Callable[[], Any] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    pattern: str | None = None,
    pattern_help: str = "",
    quantity: bool = False,
) -> Any:
    """A dataclass field that carries a `Rule`. Without `default` and `factory` the setting is required."""
    metadata = {"rule": Rule(doc, minimum, maximum, pattern, pattern_help, quantity)}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def camel(name: str) -> str:
    """`prefill_budget_tokens` → `prefillBudgetTokens`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def snake(key: str) -> str:
    """`prefillBudgetTokens` → `prefill_budget_tokens`."""
    return re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m.group(1).lower(), key)


@cache
def settings(section: type) -> tuple[Setting, ...]:
    """The settings of a section dataclass, in declaration order."""
    hints = typing.get_type_hints(section)
    out = []
    for f in dataclasses.fields(section):
        if not f.init:
            continue
        rule: Rule = f.metadata["rule"]
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        key = camel(f.name.removesuffix("_bytes") if rule.quantity else f.name)
        out.append(Setting(f.name, key, hints[f.name], rule, default is MISSING, default))
    return tuple(out)


def optional(kind: Any) -> tuple[Any, bool]:
    """Split `T | None` into (T, True); any other type is (T, False)."""
    arguments = [a for a in typing.get_args(kind) if a is not type(None)]
    if type(None) in typing.get_args(kind) and len(arguments) == 1:
        return arguments[0], True
    return kind, False


def items_of(kind: Any) -> Any | None:
    """T of `tuple[T, ...]`, or None when `kind` is no list."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None
