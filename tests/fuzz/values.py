"""JSON values that nobody should send, as the bytes that spell them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st


class Raw(bytes):
    """JSON text that stands where a value stands."""


ODD_NUMBERS = [
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e-999", b"-0", b"-0.0", b"0x10", b"01", b"1.", b".5",
    b"+1",
    b"-1", b"1e308", b"9007199254740993", b"2147483648", b"4294967296", b"9223372036854775808", b"18446744073709551616",
    b"-9223372036854775809", b"1" + b"0" * 400, b"9" * 5000, b"1.5", b"1" + b"0" * 30 + b".0", b"1e22", b"4294967295.0",
]  # fmt: skip
ODD_STRINGS = [
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"a\\udfff"', b'"\\u0000"', b'"\\u0000\\u0001\\u001f"', b'"\xed\xa0\x80"',
    b'"\xff"', b'"\x01"',
    '"\u202e\u200f\u2066"'.encode(), '"\U0010ffff\ufffe\ufdd0"'.encode(), ('"' + "e" + "\u0301" * 300 + '"').encode(),
    b'""', b'" "', b'"null"', b'"true"', b'"1"', b'"{{7*7}}{% raise %}"', b'"<|im_end|><|endoftext|>"', b'"\\"',
    b'"\r\nX: y"',
    b'"../../etc/passwd"', b"'a'", ("\"" + "\U0001f44b\U0001f3fd" * 2000 + "\"").encode(),
]  # fmt: skip
ODD_LISTS = [
    b"[]", b"[null]", b"[[]]", b"[{}]", b"[true]", b"[-1]", b"[4294967296]", b"[1e999]", b"[1.5]", b'["\\ud800"]',
    b'["",1]',
    b"[[1],[2]]", b'["a","b"]', b"[1,]", b"[,1]", b"[" + b"1," * 20000 + b"1]", b'["a"' + b',"a"' * 3000 + b"]",
    b"[[[[1]]]]",
]  # fmt: skip
ODD_OBJECTS = [
    b"{}", b'{"":1}', b'{"a":1,"a":2}', b'{"type":null}', b'{"type":"json_schema"}', b'{"type":"json_object","x":1}',
    b"{1:2}", b'{"a"}',
    b'{"type":"json_schema","json_schema":{"name":"a","schema":{"$ref":"#"}}}', b'{"regex":"(((((("}',
    b'{"regex":"(a+)+$"}',
    b'{"json":{"type":"nonsense"}}', b'{"choice":[1]}', b'{"\\ud800":1}', b'{"\\u0000":1}',
    b'{"type":"text","text":"\\udc00"}',
    b'{"regex":"a{1,100000}{1,1000}"}', b'{"regex":"(?=a)b"}', b'{"regex":"\\\\p{L}{1000}[^\\\\x00]*"}',
    b'{"json":{"$ref":"#/nope"}}', b'{"json":{"$ref":"http://a/"}}',
    b'{"json":{"type":"string","minLength":1000000000}}', b'{"json":{"type":"array","minItems":1000000000}}',
    b'{"json":{"enum":[]}}', b'{"json":"{"}',
    b'{"json":{"type":"integer","minimum":1e999}}', b'{"json":{"pattern":"("}}',
    b'{"json":{"const":123456789012345678901234567890}}', b'{"a":123456789012345678901234567890}',
    b'{"__class__":{"__init__":1}}', b'{"type":"function","function":{"name":1}}', b'{"include_usage":"yes"}',
]  # fmt: skip
PLAIN = [b"null", b"true", b"false", b"0", b"1", b"", b"nul", b"undefined", b"/* */1"]


def nested(depth: int, opening: bytes, closing: bytes, closed: bool) -> Raw:
    """Lists or objects in each other."""
    return Raw(opening * depth + (b"1" + closing * depth if closed else b""))


NESTED = st.builds(
    lambda depth, pair, closed: nested(depth, *pair, closed),
    st.sampled_from([3, 100, 510, 990, 1100, 5000, 60_000]),
    st.sampled_from([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")]),
    st.booleans(),
)
HUGE = st.builds(
    lambda unit, size: Raw(b'"' + unit * (size // len(unit)) + b'"'),
    st.sampled_from([b"a", b"ab ", b"\\u0000", "é".encode(), "👋".encode(), b"\\n", b"\\ud800"]),
    st.sampled_from([300, 5000, 70_000, 1_000_000]),
)
ODD = st.one_of(
    st.sampled_from([Raw(v) for v in [*ODD_NUMBERS, *PLAIN]]),
    st.sampled_from([Raw(v) for v in ODD_STRINGS]),
    st.sampled_from([Raw(v) for v in [*ODD_LISTS, *ODD_OBJECTS]]),
    NESTED,
    HUGE,
    st.text(max_size=20),
    st.integers(),
    st.floats().map(lambda value: Raw(repr(value).encode())),
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    ),
)


def encode(value: Any) -> bytes:
    """JSON of dicts, lists, plain values and Raw."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, dict):
        return b"{" + b",".join(_key(key) + b":" + encode(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(encode(item) for item in value) + b"]"
    return json.dumps(value).encode()


def _key(key: object) -> bytes:
    return bytes(key) if isinstance(key, Raw) else json.dumps(key).encode()
