"""Turns a raw table into a frozen dataclass, by its annotations, and says in one line what is wrong with it."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from orchestrator.core.config.problems import did_you_mean
from orchestrator.performance.dtype import ELEMENT_BYTES
from orchestrator.performance.error import CatalogError

T = TypeVar("T")

OVERHEADS = (
    "operator_s",
    "graph_launch_s",
    "collective_s",
    "iteration_s",
    "kernel_s",
    "dram_overhead_s",
    "array_overhead_s",
)
MAY_BE_ZERO = frozenset(("latency_s", "half_speed_tokens", "beyond_knee", "idle_w", *OVERHEADS))
EFFICIENCIES = (
    "compute",
    "memory",
    "link",
    "saturation_share",
    "knee_share",
    "beyond_knee",
    "array_utilization",
    "array_utilization_dynamic",
)
SHARES = frozenset(("usable_memory", "lowest_voltage", *EFFICIENCIES))


def build(kind: type[T], table: Mapping[str, Any], where: str, **given: Any) -> T:
    """An instance of the dataclass `kind` from `table`; `given` are fields that a file does not set. Raises CatalogError."""
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in given}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise CatalogError(f"unknown field {key!r}", where, did_you_mean(key, fields))
    values = {key: _value(hints[key], key, value, where) for key, value in table.items()}
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise CatalogError(f"{name} is missing", where, f'set {name}, or name a `base = "…"` that has it')
    return kind(**values, **given)


def _value(hint: Any, key: str, value: Any, where: str) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(a for a in typing.get_args(hint) if a is not types.NoneType)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise _wrong(key, value, f"a table of {', '.join(f.name for f in dataclasses.fields(hint))}", where)
        return build(hint, value, f"{where}, {key}")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _ascending(key, value, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _wrong(key, value, "a table", where)
        if key == "compute_flops":
            _known_dtypes(key, value, where)
        return {k: _value(arguments[1], f"{key}.{k}", v, where) for k, v in value.items()}
    if hint is bool or hint is str:
        if not isinstance(value, hint):
            raise _wrong(key, value, "true or false" if hint is bool else "a text", where)
        return value
    return _number(hint, key, value, where)


def _number(hint: type, key: str, value: Any, where: str) -> float | int:
    whole = hint is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise _wrong(key, value, "a whole number" if whole else "a number", where)
    name = key.rpartition(".")[2]
    if not math.isfinite(value) or value < 0 or (value == 0 and name not in MAY_BE_ZERO):
        raise _wrong(key, value, "0 or more" if name in MAY_BE_ZERO else "more than 0", where)
    if name in SHARES and value > 1:
        raise _wrong(key, value, "a share of at most 1", where)
    return int(value) if whole else float(value)


def _ascending(key: str, value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise _wrong(key, value, "a list of whole numbers", where)
    numbers = tuple(int(_number(int, key, v, where)) for v in value)
    if list(numbers) != sorted(set(numbers)):
        raise _wrong(key, value, "ascending without repeats", where)
    return numbers


def _known_dtypes(key: str, value: Mapping[str, Any], where: str) -> None:
    for dtype in value:
        if dtype not in ELEMENT_BYTES:
            raise CatalogError(f"unknown dtype {dtype!r} in {key}", where, did_you_mean(dtype, ELEMENT_BYTES))
    if not value:
        raise _wrong(key, value, "a rate for at least one dtype", where)


def _wrong(key: str, value: Any, expected: str, where: str) -> CatalogError:
    shown = repr(value)
    return CatalogError(f"{key} = {shown[:60]} is wrong", where, f"make it {expected}")
