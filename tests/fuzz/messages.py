"""gRPC messages with any values in their fields, made from their descriptors."""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

NAMES = [
    "prefill-0", "decode-0", "decode-1", "prefill", "decode", "both", "r-1", "tiny", "routing", "round_robin",
    "prefix_aware", "admission", "frequency",
    "controller", "frontdoor", "front-door-0", "up", "worker/prefill-0", "interactive", "default", "finished", "queued",
    "user", "assistant",
]  # fmt: skip
JSONS = [
    "{}", "[]", "null", "{", "NaN", '{"a": NaN}', '{"a": 1e999}', "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000,
    '{"\\ud800": 1}', '{"alpha": "\\udc00"}',
    '{"alpha": 0.5}', '{"alpha": -1}', '{"alpha": true}', '{"x": [[[1]]]}', "9" * 5000, '"' + "a" * 100_000 + '"',
    '{"apiVersion": "pd/v1", "kind": "Cluster"}',
    '{"apiVersion": "pd/v1", "kind": "Cluster", "metadata": {"name": "x"}, "spec": {"pools": 3}}', "apiVersion: pd/v1",
    "&a [*a]", "!!python/object:os.system {}",
    '{"a": 1, "a": 2}', "{" + ", ".join(f'"k{i}": 1' for i in range(3000)) + "}", '{"' + "k" * 50_000 + '": 1}', "\t",
    '{"spec": {"engine": {"maxBatch": 1e30}}}',
]  # fmt: skip
TEXTS = [
    "",
    "\x00",
    "a\x00b",
    "\n",
    "../../etc/passwd",
    "/",
    "a/b/c",
    "é",
    "\U0001f44b" * 500,
    "x" * 300,
    "x" * 9000,
    "x" * 1_000_000,
    "{}",
    "%s%n",
    "\u202e",
    "a b",
]
texts = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(TEXTS), st.text(max_size=20))
jsons = st.one_of(st.sampled_from(JSONS), texts)
floats = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), 0.5, 1e18]),
)
_BITS = {
    FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
}  # fmt: skip


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    edges = [
        n
        for n in (low, low + 1, -1, 0, 1, 2, 7, 127, 4096, 1 << 31, (1 << 63) - 1, 1 << 63, high - 1, high)
        if low <= n <= high
    ]
    return st.one_of(st.sampled_from(edges), st.integers(low, high))


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type, depth + 1)
    if field.type == FieldDescriptor.TYPE_STRING:
        return jsons if field.name.endswith("_json") else texts
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return floats
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return floats.map(lambda value: value if abs(value) < 3e38 else float("inf"))
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.integers(-2, 9)
    return _integers(*_BITS[field.type])


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Message:
    """A message with any of its fields set."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if depth > 3 or not draw(st.sampled_from([True, True, False])):
            continue
        if field.is_repeated:
            items = draw(st.lists(_values(field, depth), max_size=4)) * draw(st.sampled_from([1, 1, 1, 300]))
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                for item in items:
                    getattr(message, field.name).add().CopyFrom(item)
            else:
                getattr(message, field.name).extend(items)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(draw(_values(field, depth)))
        else:
            setattr(message, field.name, draw(_values(field, depth)))
    return message


@st.composite
def encoded(draw: st.DrawFn, descriptor: Descriptor) -> bytes:
    """A message as it is sent: mostly as it should be, else cut, spoilt or no message at all."""
    how = draw(st.sampled_from(["whole"] * 7 + ["cut", "noise", "spoilt", "long", "not UTF-8", "deep"]))
    if how == "noise":
        return draw(st.binary(min_size=1, max_size=60))
    if how == "deep":
        return b"\x3b" * 20_000
    if how == "not UTF-8":
        return b"\x0a\x02\xff\xfe"
    data = draw(messages(descriptor)).SerializeToString()
    at = draw(st.integers(0, max(0, min(len(data) - 1, 2000))))
    if how == "cut":
        return data[:at]
    if how == "spoilt":
        return data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at + 1 :]
    return data + struct.pack("<BI", 0x7D, 1) * 20_000 if how == "long" else data
