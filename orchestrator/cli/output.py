"""Data on stdout: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import IO, Annotated, Any

import typer


class Output(StrEnum):
    """Forms of a list."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class Form(StrEnum):
    """Forms of one object or a result."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Form of the output.")]
FormOption = Annotated[Form, typer.Option("--output", "-o", help="Form of the output.")]

_COLOURS = {
    "ready": "32",
    "finished": "32",
    "ok": "32",
    "starting": "33",
    "draining": "33",
    "queued": "33",
    "drained": "2",
    "cancelled": "2",
    "dead": "31",
    "failed": "31",
}


def colour_allowed(stream: IO[str]) -> bool:
    """True for a terminal, unless NO_COLOR is set or TERM is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def dump(value: Any, form: str) -> str:
    """`value` as JSON or YAML text without a final newline."""
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip("\n")


def say(message: str) -> None:
    """A message for people, on stderr."""
    print(message, file=sys.stderr, flush=True)


class Table:
    """Left-aligned columns, kubectl fashion. Widths never shrink, so rows printed later stay in line."""

    def __init__(self, headers: Sequence[str]) -> None:
        self.headers = list(headers)
        self._widths = [len(h) for h in headers]

    def lines(self, rows: Sequence[Sequence[str]], header: bool = True, colour: bool = False) -> list[str]:
        """Lines of text for `rows`, the header first if asked."""
        shown = [self.headers, *rows] if header else list(rows)
        self._widths = [max([w, *(len(r[i]) for r in shown)]) for i, w in enumerate(self._widths)]
        out = ["   ".join(c.ljust(w) for c, w in zip(r, self._widths, strict=True)).rstrip() for r in shown]
        return [_paint(line, row) for line, row in zip(out, shown, strict=True)] if colour else out

    def print(self, rows: Sequence[Sequence[str]], header: bool = True) -> None:
        """Print `rows` on stdout."""
        for line in self.lines(rows, header, colour_allowed(sys.stdout)):
            print(line)
        sys.stdout.flush()


def _paint(line: str, row: Sequence[str]) -> str:
    for cell in row:
        if code := _COLOURS.get(cell):
            return line.replace(cell + " ", f"\033[{code}m{cell}\033[0m ", 1) if cell + " " in line else line
    return line


def pairs(items: Sequence[tuple[str, str]], indent: str = "") -> None:
    """Print aligned `Key:  value` lines on stdout."""
    width = max((len(k) for k, _ in items), default=0) + 3
    for key, value in items:
        print(f"{indent}{(key + ':').ljust(width)}{value}".rstrip())
