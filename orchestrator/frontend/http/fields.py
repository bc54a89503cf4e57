"""Typed access to the fields of a body, with errors that name the field, the value and the remedy."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Set
from typing import Any

import orjson

from orchestrator.core.quote import cut, quoted
from orchestrator.frontend.text import InvalidRequest

_NAMES = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}

_SHOWN_CHARS = 64


def describe(value: object) -> str:
    """A JSON value for a message: its kind, and itself if it is short."""
    kind = _NAMES.get(type(value), "a value")
    if isinstance(value, (list, dict)):
        return kind
    text = json.dumps(value)
    return f"{kind} ({text})" if len(text) <= 40 and value is not None else kind


class Fields:
    """A JSON object whose optional fields may be absent or null. Every getter raises InvalidRequest."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def name(self, field: str) -> str:
        return f"{self._path}{field}"

    def has_any(self, names: Set[str]) -> bool:
        """A field of `names` is present."""
        return not names.isdisjoint(self._values)

    def get(self, field: str) -> Any:
        return self._values.get(field)

    def refuse_unknown(self, known: Set[str]) -> None:
        """Raise for the first field outside `known`, with the nearest name that exists."""
        if self._values.keys() <= known:
            return
        for field in self._values:
            if field not in known:
                field = field[:_SHOWN_CHARS]  # a client may send a name of any length, and comparing names is slow
                near = difflib.get_close_matches(field, known, n=1, cutoff=0.6)
                remedy = f"did you mean {near[0]!r}?" if near else f"remove it. Known here: {', '.join(sorted(known))}."
                raise InvalidRequest(
                    f"Unknown field {quoted(self.name(field))}: {remedy}", self.name(field), "unknown_field"
                )

    def string(self, field: str) -> str | None:
        value = self.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(field, value, "a string")
        return self.clean(field, value)

    def clean(self, field: str, value: str) -> str:
        """`value`, if it is Unicode text; JSON can spell half a surrogate pair, which is none."""
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(
                f"{self.name(field)!r} holds half a surrogate pair (\\ud800-\\udfff): send whole characters.",
                self.name(field),
            ) from None
        return value

    def written(self, field: str) -> Any:
        """A value of any kind that is written out again: all its text is Unicode, and its numbers fit."""
        value = self.get(field)
        try:
            orjson.dumps(value)
        except (TypeError, RecursionError):
            raise InvalidRequest(
                f"{self.name(field)!r} holds half a surrogate pair, a number of more than 64 bits or too many levels: "
                "send plain JSON.",
                self.name(field),
            ) from None
        return value

    def boolean(self, field: str, default: bool = False) -> bool:
        value = self.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(field, value, "true or false")
        return value

    def integer(self, field: str, low: int, high: int) -> int | None:
        value = self.get(field)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(field, value, "an integer")
        if not low <= value <= high:
            raise InvalidRequest(
                f"{self.name(field)!r} is {cut(str(value), 40)}: use an integer from {low} to {high}.", self.name(field)
            )
        return value

    def number(self, field: str, low: float, high: float, above_low: bool = False) -> float | None:
        value = self.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong(field, value, "a number")
        if not low <= value <= high or math.isnan(value) or (above_low and value == low):
            bound = f"above {low:g} and at most {high:g}" if above_low else f"from {low:g} to {high:g}"
            raise InvalidRequest(
                f"{self.name(field)!r} is {cut(str(value), 40)}: use a number {bound}.", self.name(field)
            )
        return float(value)

    def wrong(self, field: str, value: object, expected: str) -> InvalidRequest:
        """The error for a value of the wrong type."""
        message = f"{self.name(field)!r} is {describe(value)}: send {expected}."
        return InvalidRequest(message, self.name(field), "invalid_type")
