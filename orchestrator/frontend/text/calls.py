"""Tool calls in an output, found as its text comes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Protocol

import orjson


@dataclass(frozen=True, slots=True)
class Said:
    """Text for people."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The `index`-th call, of the function `name`."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the JSON text of a call's arguments."""

    index: int
    text: str


Event = Said | CallBegun | CallArguments


class CallReader(Protocol):
    """What the events say does not depend on how the text was cut into pieces."""

    def push(self, text: str) -> list[Event]:
        """What became certain with `text`."""

    def finish(self) -> list[Event]:
        """What was held back, at the end of the output."""


class TextReader:
    """No tools: all is for people."""

    def push(self, text: str) -> list[Event]:
        return [Said(text)] if text else []

    def finish(self) -> list[Event]:
        return []


class ArgumentsReader:
    """The whole output is the arguments of one function."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun = False

    def push(self, text: str) -> list[Event]:
        if not text:
            return []
        begun: list[Event] = [] if self._begun else [CallBegun(0, self._name)]
        self._begun = True
        return [*begun, CallArguments(0, text)]

    def finish(self) -> list[Event]:
        return []


_HEAD = re.compile(r'[\[\s,]*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')
_MARK = re.compile(r'["\\{}\[\]]')


class CallsReader:
    """The whole output is one {"name": …, "arguments": …}, or a list of them, as a grammar wrote it."""

    def __init__(self) -> None:
        self._head = ""
        self._index = -1
        self._in_arguments = self._in_string = self._escaped = False
        self._depth = 0

    def push(self, text: str) -> list[Event]:
        events: list[Event] = []
        while text:
            text = self._arguments(text, events) if self._in_arguments else self._name(text, events)
        return events

    def finish(self) -> list[Event]:
        return []

    def _name(self, text: str, events: list[Event]) -> str:
        self._head += text
        found = _HEAD.match(self._head)
        if found is None:
            return ""
        rest, self._head = self._head[found.end() :], ""
        self._index += 1
        self._in_arguments = True
        events.append(CallBegun(self._index, json.loads(found[1])))
        return rest

    def _arguments(self, text: str, events: list[Event]) -> str:
        """Take arguments up to the brace that closes their call; returns what comes after it."""
        start = 1 if self._escaped else 0
        self._escaped = False
        while (mark := _MARK.search(text, start)) is not None:
            sign, start = mark[0], mark.end()
            if sign == "\\":
                if start == len(text):
                    self._escaped = True
                    break
                start += 1
            elif sign == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if sign in "{[" else -1
                if self._depth < 0:
                    self._depth, self._in_arguments = 0, False
                    if mark.start():
                        events.append(CallArguments(self._index, text[: mark.start()]))
                    return text[start:]
        events.append(CallArguments(self._index, text))
        return ""


_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


class TaggedReader:
    """Text with calls between <tool_call> and </tool_call>, each {"name": …, "arguments": …}: the notation of Hermes and Qwen.

    A call is told when it is complete. What stands between the tags and is no call, or is cut off, is told as text.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._held = ""  # may be the start of a tag
        self._inside: str | None = None

    def push(self, text: str) -> list[Event]:
        events: list[Event] = []
        while text:
            text = self._outside(text, events) if self._inside is None else self._call(text, events)
        return events

    def finish(self) -> list[Event]:
        held = self._held if self._inside is None else _OPEN + self._inside
        self._held, self._inside = "", None
        return [Said(held)] if held else []

    def _outside(self, text: str, events: list[Event]) -> str:
        said, tag, rest = (self._held + text).partition(_OPEN)
        if tag:
            self._held, self._inside = "", ""
        else:
            keep = next(size for size in range(len(_OPEN) - 1, -1, -1) if said.endswith(_OPEN[:size]))
            self._held = said[len(said) - keep :]
            said = said[: len(said) - keep]
        if said:
            events.append(Said(said))
        return rest

    def _call(self, text: str, events: list[Event]) -> str:
        inside = (self._inside or "") + text
        call, close, rest = inside.partition(_CLOSE)
        if not close:
            self._inside = inside
            return ""
        self._inside = None
        name, arguments = _parsed(call)
        if name is None:
            events.append(Said(_OPEN + call + _CLOSE))
        else:
            events += [CallBegun(self._calls, name), CallArguments(self._calls, arguments)]
            self._calls += 1
        return rest


def _parsed(call: str) -> tuple[str | None, str]:
    """Name and arguments of a call, None where it is none."""
    try:
        value = orjson.loads(call)
    except ValueError:
        return None, ""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None, ""
    arguments = value.get("arguments", {})
    return value["name"], arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
