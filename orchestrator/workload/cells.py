"""Reads one cell or value of a trace; raises BadRow for what is no such thing."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from orchestrator.workload.trace import BadRow

MOST_TOKENS = 1 << 31


def tokens(cell: Any, name: str) -> int:
    """A number of tokens, 0 or more. `5` and `5.0` are numbers, `1.5`, `-1` and `true` are not."""
    try:
        value = int(cell) if type(cell) in (str, int) else _whole(cell)
    except (TypeError, ValueError):
        value = _whole(cell)
    if not 0 <= value < MOST_TOKENS:
        raise BadRow(f"{name} {_short(cell)} is not a number of tokens (0 or more)")
    return value


def _whole(cell: Any) -> int:
    try:
        value = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        value = math.nan
    return int(value) if value.is_integer() else -1


class WallClock:
    """Reads ISO times as seconds after the first one, exact to the microsecond; UTC where a time has no zone."""

    def __init__(self) -> None:
        self._zero: datetime | None = None

    def __call__(self, text: str) -> float:
        """Seconds after the first time read. Raises ValueError."""
        at = datetime.fromisoformat(text.strip())
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if self._zero is None:
            self._zero = at
        return (at - self._zero).total_seconds()


def nanoseconds(text: str) -> float:
    """Seconds of a number of nanoseconds."""
    return float(text) * 1e-9


def number(cell: Any, name: str, unit: str) -> float:
    """A finite number of a JSON object."""
    if type(cell) not in (int, float) or not math.isfinite(cell):
        raise BadRow(f"{name} {_short(cell)} is not a number of {unit}")
    return float(cell)


def ids(value: Any, name: str) -> tuple[int, ...]:
    """Prefix ids: a list of integers, or None for none."""
    if value is None:
        return ()
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        raise BadRow(f"{name} is not a list of integers", "correct it or leave it out")
    return tuple(value)


def ids_of_text(cell: str, name: str) -> tuple[int, ...]:
    """Prefix ids in a CSV cell, apart by spaces."""
    try:
        return tuple(map(int, cell.split()))
    except ValueError:
        raise BadRow(
            f"{name} {_short(cell)} is not a list of integers, apart by spaces", "correct it or leave it out"
        ) from None


def word(value: Any, name: str) -> str | None:
    """A name; None where it is absent or empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadRow(f"{name} {_short(value)} is not text", "write it in quotes or leave it out")
    return value


def _short(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."
