"""Plain values as JSON and back, bit for bit: what a decision was made from must not change by being written down."""

from __future__ import annotations

import base64
import dataclasses
import math
import sys
from collections import deque
from enum import Enum
from typing import Any

import numpy as np

Json = Any
TAG = "!"
"""Marks a JSON object that stands for something JSON has no form for."""


class NotExact(TypeError):
    """A value that has no exact JSON form; the message says where it was found and what would do."""


def encode(value: Any, where: str = "value") -> Json:
    """`value` as JSON: None, bool, int, float, str, list, tuple, dict, deque, enums, NumPy arrays and scalars, dataclasses.

    Raises NotExact for anything else, and for a list, dict, array or dataclass that is reached twice: decoded, it would be two.
    """
    return _encode(value, where, set())


def _encode(value: Any, where: str, seen: set[int]) -> Json:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else _array(np.float64(value), "float")
    if isinstance(value, Enum):
        return {TAG: "enum", "class": _name(kind), "value": value.value}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return _array(value, "scalar")
    if id(value) in seen:
        raise NotExact(f"{where} is reached twice: keep one reference to it")
    if kind is tuple:
        return {TAG: "tuple", "items": [_encode(v, f"{where}[{i}]", seen) for i, v in enumerate(value)]}
    seen.add(id(value))
    if kind is np.ndarray and value.dtype.kind in "biuf":
        return _array(value, "array")
    if kind is list:
        return [_encode(v, f"{where}[{i}]", seen) for i, v in enumerate(value)]
    if kind is deque:
        items = [_encode(v, f"{where}[{i}]", seen) for i, v in enumerate(value)]
        return {TAG: "deque", "most": value.maxlen, "items": items}
    if kind is dict:
        return _dict(value, where, seen)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {TAG: "object", "class": _name(kind), "fields": _fields(value, where, seen)}
    raise NotExact(
        f"{where} is a {kind.__name__}: use None, bool, int, float, str, enums, list, tuple, dict, deque, NumPy, dataclasses"
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _array(value: Any, tag: str) -> Json:
    data = base64.b64encode(value.tobytes()).decode()
    return {TAG: tag, "dtype": value.dtype.str, "shape": list(value.shape), "base64": data}


def _dict(value: dict[Any, Any], where: str, seen: set[int]) -> Json:
    if TAG not in value and all(type(key) is str for key in value):
        return {key: _encode(v, f"{where}[{key!r}]", seen) for key, v in value.items()}
    pairs = [[_encode(k, f"a key of {where}", seen), _encode(v, f"{where}[{k!r}]", seen)] for k, v in value.items()]
    return {TAG: "dict", "items": pairs}


def _fields(value: Any, where: str, seen: set[int]) -> Json:
    names = [f.name for f in dataclasses.fields(value)]
    if other := sorted(getattr(value, "__dict__", {}).keys() - set(names)):
        raise NotExact(f"{where}.{other[0]} is no field of its dataclass: declare it")
    return {name: _encode(getattr(value, name), f"{where}.{name}", seen) for name in names}


def decode(document: Json) -> Any:
    """What `encode` was given, as new objects; raises ValueError or KeyError for what it never returns.

    A class is looked up among the modules that are imported already: a document cannot import anything.
    """
    if isinstance(document, list):
        return [decode(item) for item in document]
    if not isinstance(document, dict):
        return document
    match document.get(TAG):
        case None:
            return {key: decode(item) for key, item in document.items()}
        case "tuple":
            return tuple(decode(item) for item in document["items"])
        case "deque":
            return deque((decode(item) for item in document["items"]), document["most"])
        case "dict":
            return {decode(key): decode(item) for key, item in document["items"]}
        case "array":
            return _bits(document).copy()
        case "scalar":
            return _bits(document)[()]
        case "float":
            return float(_bits(document))
        case "enum":
            return _class(document["class"], Enum)(document["value"])
        case "object":
            return _object(document)
        case other:
            raise ValueError(f"unknown form {other!r}")


def _bits(document: Json) -> Any:
    data = base64.b64decode(document["base64"], validate=True)
    return np.frombuffer(data, np.dtype(document["dtype"])).reshape(document["shape"])


def _class(name: str, base: type = object) -> Any:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not issubclass(found, base):
        raise ValueError(f"there is no class {name}")
    return found


def _object(document: Json) -> Any:
    found = _class(document["class"])
    names = {f.name for f in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
    if names != document["fields"].keys() or not names:
        raise ValueError(f"{document['class']} is no dataclass of {', '.join(document['fields'])}")
    made: Any = found.__new__(found)
    for name, value in document["fields"].items():
        object.__setattr__(made, name, decode(value))
    return made
