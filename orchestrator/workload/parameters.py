"""Reads the names of generated traces: `gamma?cv=3&lengths=azure-code&tiers=interactive:0.3,batch:0.7`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.workload.lengths import parse_lengths
from orchestrator.workload.trace import TraceError
from orchestrator.workload.weights import parse_weights


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a generator. `read` turns its text into a value or raises ValueError with the remedy."""

    name: str
    default: str | None
    read: Callable[[str], Any]
    help: str


def _number(low: float, high: float = math.inf, above: bool = False) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not low <= value <= high or (above and value == low):
            bounds = f"above {low:g}" if above else f"of {low:g} or more"
            raise ValueError(f"give a number {bounds}" + (f", at most {high:g}" if high < math.inf else ""))
        return value

    return read


COMMON = (
    Parameter("lengths", "azure-conversation", parse_lengths, "prompt and output lengths, one NAME or NAME:WEIGHT,…"),
    Parameter("tiers", None, parse_weights, "service tiers of the requests as NAME:WEIGHT,…"),
    Parameter("rotate_s", None, _number(0, above=True), "seconds after which each tier takes the next one's weight"),
    Parameter("rate", None, _number(0, above=True), "mean requests per second, where --rate does not say"),
)

GENERATORS: Mapping[str, tuple[Parameter, ...]] = {
    "poisson": COMMON,
    # Source: PolyServe §6, bursty arrivals of CV 3.
    "gamma": (Parameter("cv", "3", _number(0, 100), "coefficient of variation of the gaps"), *COMMON),
    "diurnal": (
        Parameter("period_s", "86400", _number(0, above=True), "length of a day"),
        Parameter("amplitude", "0.5", _number(0, 1), "how far the rate swings, as a share of its mean"),
        *COMMON,
    ),
}


def parse_name(name: str) -> tuple[str, dict[str, Any]]:
    """The generator and the values of all its parameters, of what follows `synthetic:`. Raises TraceError."""
    kind, mark, rest = name.partition("?")
    where = f"synthetic:{name}"[:160]
    if kind not in GENERATORS:
        known = ", ".join(f"synthetic:{n}" for n in GENERATORS)
        raise TraceError(f"no synthetic trace {kind!r}", where, f"use {known}")
    there = {p.name: p for p in GENERATORS[kind]}
    given: dict[str, str] = {}
    for part in rest.split("&") if mark else ():
        key, equals, value = part.partition("=")
        if key not in there:
            close = difflib.get_close_matches(key, there, 1)
            guess = f" (did you mean {close[0]}?)" if close else ""
            raise TraceError(f"synthetic:{kind} has no parameter {key!r}", where, f"use {', '.join(there)}{guess}")
        if not equals or key in given:
            raise TraceError(
                f"parameter {key} {'appears twice' if equals else 'has no value'}", where, f"give {key}=… once"
            )
        given[key] = value
    return kind, {p.name: _value(p, given, where) for p in there.values()}


def _value(parameter: Parameter, given: Mapping[str, str], where: str) -> Any:
    text = given.get(parameter.name, parameter.default)
    try:
        return None if text is None else parameter.read(text)
    except ValueError as error:
        raise TraceError(f"bad {parameter.name}={text}: {error}", where, f"it is {parameter.help}") from None
