"""What all `pdctl get` commands do: select by name, print in one of five forms, follow changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from orchestrator.cli.documents import Document, document, listing
from orchestrator.cli.errors import CliError
from orchestrator.cli.names import bare
from orchestrator.cli.output import Output, Table, dump, say

NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Only these.", show_default=False)]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Go on and print what changes, until Ctrl-C.")]
NoHeadersOption = Annotated[bool, typer.Option("--no-headers", help="Leave out the header line.")]


EVERYTHING = 1_000_000
"""A limit that no list reaches; the server takes 0 for its own default."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table; `wide` ones appear with `-o wide` only."""

    header: str
    cell: Callable[[Document], str]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Noun:
    """A kind of object: its name in JSON, the field that names one, and its columns."""

    kind: str
    key: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class View:
    """How the user wants a list."""

    names: tuple[str, ...]
    output: Output
    headers: bool

    @classmethod
    def of(cls, names: list[str] | None, output: Output, no_headers: bool) -> View:
        """From the command line's options."""
        return cls(tuple(names or ()), output, not no_headers)


def items_of(reply: Any) -> list[Document]:
    """The documents of a List reply."""
    return [document(item) for item in reply.items]


def show(noun: Noun, items: Iterable[Document], view: View) -> None:
    """Print the list once; CliError if a name asked for is not there."""
    names = _names(noun, view)
    chosen = _select(noun, list(items), names)
    if view.output in (Output.JSON, Output.YAML):
        print(dump(listing(noun.kind, chosen), view.output))
    elif view.output is Output.NAME:
        for item in chosen:
            print(f"{noun.kind.lower()}/{item[noun.key]}")
    elif chosen:
        _table(noun, view).print(_rows(noun, chosen, view), view.headers)
    else:
        say(f"No {plural(noun.kind)} found.")


def follow(noun: Noun, lists: Iterable[list[Document]], view: View) -> None:
    """Print the first list, then the objects that changed. JSON and YAML give one document per change."""
    table, names = _table(noun, view), _names(noun, view)
    seen: dict[str, Any] = {}
    first = True
    for items in _quiet(lists):
        chosen = _select(noun, items, names) if first else [i for i in items if _wanted(noun, i, names)]
        changed = []
        for item in chosen:
            state = _visible(noun, item, view)
            if seen.get(item[noun.key]) != state:
                seen[item[noun.key]] = state
                changed.append(item)
        if view.output is Output.JSON:
            for item in changed:
                print(json.dumps({"apiVersion": "pd/v1", "kind": noun.kind, **item}, ensure_ascii=False), flush=True)
        elif view.output is Output.YAML:
            for item in changed:
                print("---\n" + dump({"apiVersion": "pd/v1", "kind": noun.kind, **item}, "yaml"), flush=True)
        elif view.output is Output.NAME:
            for item in changed:
                print(f"{noun.kind.lower()}/{item[noun.key]}", flush=True)
        elif changed:
            table.print(_rows(noun, changed, view), view.headers and first)
        if changed:
            first = False


def _quiet(lists: Iterable[list[Document]]) -> Iterator[list[Document]]:
    # Ctrl-C is how a watch ends; it is no failure.
    try:
        yield from lists
    except KeyboardInterrupt:
        return


def _visible(noun: Noun, item: Document, view: View) -> Any:
    # Ages change all the time: in a table a row is worth repeating only when another cell changed.
    if view.output in (Output.TABLE, Output.WIDE):
        return tuple(c.cell(item) for c in _columns(noun, view) if c.header != "AGE")
    return {k: v for k, v in item.items() if not k.endswith("age_s")}


def _columns(noun: Noun, view: View) -> list[Column]:
    return [c for c in noun.columns if view.output is Output.WIDE or not c.wide]


def _table(noun: Noun, view: View) -> Table:
    return Table([c.header for c in _columns(noun, view)])


def _rows(noun: Noun, items: Sequence[Document], view: View) -> list[list[str]]:
    return [[c.cell(item) for c in _columns(noun, view)] for item in items]


def _names(noun: Noun, view: View) -> list[str]:
    return [bare(noun.kind.lower(), name) for name in view.names]


def _wanted(noun: Noun, item: Document, names: Sequence[str]) -> bool:
    return not names or item[noun.key] in names


def _select(noun: Noun, items: list[Document], names: Sequence[str]) -> list[Document]:
    known = [str(item[noun.key]) for item in items]
    missing = [name for name in names if name not in known]
    if missing:
        what = noun.kind.lower()
        there = f"there are: {', '.join(known[:20])}" if known else f"there are no {plural(noun.kind)}"
        raise CliError(f"no {what} {missing[0]!r}", there, f"list them with `pdctl get {plural(noun.kind)}`")
    return [item for item in items if _wanted(noun, item, names)]


def plural(kind: str) -> str:
    """`Policy` → `policies`."""
    word = kind.lower()
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
