"""What a policy was given comes back bit for bit, whatever the numbers are."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.exact import NotExact, decode, encode
from orchestrator.core.request import RequestView
from orchestrator.core.snapshot import copy_view, request_from_json, request_to_json, view_from_json, view_to_json


def through_json(document: Any) -> Any:
    return json.loads(json.dumps(document, allow_nan=False))


def bits(value: Any) -> Any:
    """Equal for two values exactly if type and bits are."""
    if isinstance(value, np.ndarray | np.generic):
        return type(value), value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, float):
        return type(value), np.float64(value).tobytes()
    if isinstance(value, list | tuple | deque):
        return type(value), getattr(value, "maxlen", None), [bits(v) for v in value]
    if isinstance(value, dict):
        return dict, [(bits(k), bits(v)) for k, v in value.items()]
    return type(value), value


def all_bits(record: Any) -> dict[str, Any]:
    return {f.name: bits(getattr(record, f.name)) for f in fields(record)}


@st.composite
def any_view(draw: st.DrawFn) -> ClusterView:
    n = draw(st.integers(0, 5))
    view = ClusterView.empty(draw(st.lists(st.text(), min_size=n, max_size=n)))
    for f in fields(view):
        column = getattr(view, f.name)
        if isinstance(column, np.ndarray):
            setattr(view, f.name, draw(arrays.arrays(column.dtype, n)))
    view.time_s = draw(st.floats())
    return view


@given(any_view())
def test_a_view_comes_back_bit_for_bit(view: ClusterView) -> None:
    assert all_bits(view_from_json(through_json(view_to_json(view)))) == all_bits(view)


def test_a_column_of_another_type_comes_back_as_it_was() -> None:
    view = ClusterView.empty(["a", "b"])
    view.running = np.array([1, 2], np.int32)  # type: ignore[assignment]
    view.age_s = np.array([np.nan, -np.inf])
    view.step_time_s = np.array([-0.0, 5e-324])
    assert all_bits(view_from_json(through_json(view_to_json(view)))) == all_bits(view)


def test_a_large_view_comes_back_bit_for_bit() -> None:
    view = ClusterView.empty([f"w{i}" for i in range(1000)])
    rng = np.random.default_rng(1)
    view.kv_used_blocks[:] = rng.integers(0, 2**40, 1000)
    view.age_s[:] = rng.random(1000)
    view.accepts[:] = rng.random(1000) < 0.5
    assert all_bits(view_from_json(through_json(view_to_json(view)))) == all_bits(view)


def test_a_copy_is_not_updated() -> None:
    view = ClusterView.empty(["a"])
    copy = copy_view(view)
    view.running[0], view.names[0] = 7, "b"
    assert (copy.running[0], copy.names) == (0, ["a"])


@given(
    st.builds(
        RequestView,
        st.text(),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.floats(),
        st.text(),
        st.none() | st.floats(),
        st.none() | st.floats(),
        arrays.arrays(np.uint64, st.integers(0, 8)),
    )
)
def test_a_request_comes_back_bit_for_bit(request: RequestView) -> None:
    assert all_bits(request_from_json(through_json(request_to_json(request)))) == all_bits(request)


@pytest.mark.parametrize(("change", "message"), [({"colour": 1}, "unknown field 'colour'"), (None, "no field 'role'")])
def test_a_view_of_another_version_is_refused(change: dict[str, Any] | None, message: str) -> None:
    document = {**view_to_json(ClusterView.empty([])), **(change or {})}
    if change is None:
        del document["role"]
    with pytest.raises(ValueError, match=message):
        view_from_json(document)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(Role)
values = st.recursive(
    scalars
    | arrays.arrays(st.sampled_from([np.float32, np.int8, np.uint64, np.bool_]), arrays.array_shapes(min_dims=0)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(lambda items: deque(items, 4))
        | st.dictionaries(st.text(max_size=2) | st.integers() | st.just("!"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_plain_values_come_back_bit_for_bit(value: Any) -> None:
    assert bits(decode(through_json(encode(value)))) == bits(value)


@dataclass(frozen=True, slots=True)
class Inner:
    mean: float
    seen: dict[str, int] = field(default_factory=dict)


@dataclass
class Outer:
    inner: list[Inner]


def test_dataclasses_come_back_as_what_they_are() -> None:
    value = Outer([Inner(math.pi, {"a": 1}), Inner(np.float64(2.0))])
    again = decode(through_json(encode(value)))
    assert again == value
    assert type(again.inner[1].mean) is np.float64


class Opaque:
    pass


def undeclared() -> Outer:
    value = Outer([])
    value.extra = 1  # type: ignore[attr-defined]
    return value


SHARED: list[int] = []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, Opaque()]}, r"value\['a'\]\[1\] is a Opaque: use None"),
        ({1, 2}, "value is a set"),
        (np.array([None]), "value is a ndarray"),
        ([SHARED, SHARED], r"value\[1\] is reached twice"),
        (undeclared(), "value.extra is no field"),
        (lambda: 0, "value is a function"),
    ],
)
def test_other_values_are_refused_by_place(value: Any, message: str) -> None:
    with pytest.raises(NotExact, match=message):
        encode(value)


@pytest.mark.parametrize(
    "document",
    [
        {"!": "object", "class": "subprocess:Popen", "fields": {}},
        {"!": "object", "class": "not_imported:Thing", "fields": {}},
        {"!": "enum", "class": "os:system", "value": "true"},
        {"!": "eval"},
    ],
)
def test_a_document_makes_nothing_but_plain_values(document: Any) -> None:
    with pytest.raises(ValueError, match=r"there is no class|is no dataclass|unknown form"):
        decode(document)
