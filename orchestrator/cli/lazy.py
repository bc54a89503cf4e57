"""Command groups whose commands are imported when they are used, so that `pdctl --help` starts at once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from orchestrator.cli.globals import attach


@dataclass(frozen=True, slots=True)
class Verb:
    """A command: `target` is `module:function`, `help` its line in the list of commands, `alias` another name for it."""

    target: str
    help: str
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A verb that takes nouns."""

    help: str
    verbs: Mapping[str, Verb]


Table = Mapping[str, Verb | Group]


def _alias(entry: Verb | Group) -> str | None:
    return entry.alias or None if isinstance(entry, Verb) else None


def load(name: str, verb: Verb) -> Any:
    """Import the command's function and make it a command that takes the common options too."""
    module, _, function = verb.target.partition(":")
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    holder.command(name=name)(getattr(importlib.import_module(module), function))
    command = typer.main.get_command(holder)
    attach(command)
    return command


class LazyGroup(TyperGroup):
    """A group over a `Table`."""

    table: Table = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command or group called `cmd_name`; None if there is none."""
        entry = self.table.get(cmd_name) or next((e for e in self.table.values() if _alias(e) == cmd_name), None)
        if isinstance(entry, Group):
            group = LazyGroup(name=cmd_name, help=entry.help, no_args_is_help=True, rich_markup_mode=None)
            group.table = entry.verbs
            attach(group)
            return group
        return None if entry is None else load(cmd_name, entry)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As in the base class, which suggests from `commands`: names alone are enough for that."""
        self.commands = {name: TyperCommand(name) for name in self.table}
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Completions by the table alone."""
        from typer._click.shell_completion import CompletionItem

        matching = [(n, entry.help) for n, entry in self.table.items() if n.startswith(incomplete)]
        names = [CompletionItem(name, help=text) for name, text in matching]
        return [*names, *TyperCommand.shell_complete(self, ctx, incomplete)]  # type: ignore[arg-type]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands by the table alone; importing them would make help slow."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])
