"""The cluster view and requests, as a policy saw them, as JSON and back, bit for bit.

Columns are JSON lists that a person can read; a column of another type, one that holds NaN or infinity, and one of more than
`READABLE_ROWS` (for which a list takes ten times as long) are kept as bytes.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np

from orchestrator.core.cluster import ClusterView
from orchestrator.core.exact import Json, decode, encode
from orchestrator.core.request import RequestView

READABLE_ROWS = 64
_NAMES = tuple(f.name for f in fields(ClusterView))


@cache
def _columns() -> dict[str, np.dtype[Any]]:
    """Columns of a view with the type that they are made with."""
    empty = ClusterView.empty([])
    columns = {f.name: getattr(empty, f.name) for f in fields(ClusterView)}
    return {name: column.dtype for name, column in columns.items() if isinstance(column, np.ndarray)}


def copy_view(view: ClusterView) -> ClusterView:
    """A view that its owner does not update."""
    values: list[Any] = [getattr(view, name) for name in _NAMES]
    return ClusterView(*[value.copy() if hasattr(value, "copy") else value for value in values])


def view_to_json(view: ClusterView) -> Json:
    """Every field by name."""
    types = _columns()
    return {
        f.name: _column(getattr(view, f.name), types[f.name]) if f.name in types else encode(getattr(view, f.name))
        for f in fields(ClusterView)
    }


def view_from_json(document: Json) -> ClusterView:
    """What `view_to_json` was given; raises ValueError naming a field that is missing or unknown."""
    types = _columns()
    values = _known(ClusterView, document)
    decoded: dict[str, Any] = {
        name: np.array(value, types[name]) if name in types and isinstance(value, list) else decode(value)
        for name, value in values.items()
    }
    return ClusterView(**decoded)


def request_to_json(request: RequestView) -> Json:
    """Every field by name."""
    return {f.name: encode(getattr(request, f.name), f.name) for f in fields(RequestView)}


def request_from_json(document: Json) -> RequestView:
    """What `request_to_json` was given; raises ValueError naming a field that is missing or unknown."""
    return RequestView(**{name: decode(value) for name, value in _known(RequestView, document).items()})


def _column(column: Any, standard: np.dtype[Any]) -> Json:
    plain = column.dtype == standard and column.ndim == 1 and len(column) <= READABLE_ROWS
    return column.tolist() if plain and (standard.kind != "f" or np.isfinite(column).all()) else encode(column)


def _known(kind: type, document: Json) -> dict[str, Json]:
    names = {f.name for f in fields(kind)}
    if wrong := sorted(names ^ document.keys()):
        word = "no" if wrong[0] in names else "an unknown"
        raise ValueError(f"{word} field {wrong[0]!r} in a {kind.__name__}: another version wrote it")
    return dict(document)
