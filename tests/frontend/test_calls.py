"""Tool calls are found in an output however it is cut."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from orchestrator.frontend.text.calls import (
    ArgumentsReader,
    CallArguments,
    CallBegun,
    CallReader,
    CallsReader,
    Said,
    TaggedReader,
)

TRICKY = '{"a":"}]{[\\\\\\"","b":[{"c":{}},"\\u00e9"],"d":"é👋"}'
MANY = '[{"name":"one","arguments":' + TRICKY + '},{"name":"t\\"wo","arguments":{}}]'


def read(reader: CallReader, parts: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """What was said, and calls by name with their arguments."""
    said, calls = "", list[tuple[str, str]]()
    for event in [*itertools.chain.from_iterable(map(reader.push, parts)), *reader.finish()]:
        match event:
            case Said(text):
                said += text
            case CallBegun(index, name):
                assert index == len(calls)
                calls.append((name, ""))
            case CallArguments(index, text):
                assert index == len(calls) - 1
                calls[-1] = (calls[-1][0], calls[-1][1] + text)
    return said, calls


CASES: list[tuple[str, Callable[[], CallReader], str, str, list[tuple[str, str]]]] = [
    ("many", CallsReader, MANY, "", [("one", TRICKY), ('t"wo', "{}")]),
    ("one", CallsReader, '{"name":"f","arguments":{"x":1}}', "", [("f", '{"x":1}')]),
    ("spaced", CallsReader, '[ {"name" : "f", "arguments": {"x": [1]}} ]', "", [("f", '{"x": [1]}')]),
    ("cut off in the arguments", CallsReader, '[{"name":"f","arguments":{"x":"\\', "", [("f", '{"x":"\\')]),
    ("cut off in the name", CallsReader, '[{"name":"f', "", []),
    ("arguments", lambda: ArgumentsReader("f"), TRICKY, "", [("f", TRICKY)]),
    ("tagged", TaggedReader, 'a <tool_call>\n{"name": "f", "arguments": {"é": 1}}\n</tool_call> b', "a  b", [("f", '{"é":1}')]),
    (
        "two tagged",
        TaggedReader,
        '<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "g", "arguments": "{}"}</tool_call>',
        "",
        [("f", "{}"), ("g", "{}")],
    ),
    ("no call", TaggedReader, "a < b <tool_ <<tool_cal", "a < b <tool_ <<tool_cal", []),
    ("tagged nonsense", TaggedReader, "x<tool_call>[1</tool_call>y", "x<tool_call>[1</tool_call>y", []),
    ("half a surrogate", TaggedReader, '<tool_call>{"name":"\\ud800"}</tool_call>', '<tool_call>{"name":"\\ud800"}</tool_call>', []),
    ("tagged and cut off", TaggedReader, 'x<tool_call>{"name', 'x<tool_call>{"name', []),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "text", "said", "calls"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_every_cut(reader: Callable[[], CallReader], text: str, said: str, calls: list[tuple[str, str]]) -> None:
    assert read(reader(), [text]) == (said, calls)
    assert read(reader(), list(text)) == (said, calls)
    for i in range(1, len(text)):
        assert read(reader(), [text[:i], text[i:]]) == (said, calls), i
