"""Arguments and options that the verbs of `pdctl trace` share, and what they do with errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.errors import CliError, usage
from orchestrator.cli.output import say

if TYPE_CHECKING:
    from orchestrator.workload.notes import Notes
    from orchestrator.workload.writer import FileForm

TraceArgument = Annotated[
    str,
    typer.Argument(metavar="TRACE", help="PATH, sample, servegen:RATES_FILE or synthetic:NAME?…", show_default=False),
]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="File to write; packed if it ends in .gz.", show_default=False)
]
RequestsOption = Annotated[int | None, typer.Option(min=1, help="The first N requests.", show_default=False)]
SkipOption = Annotated[int, typer.Option(min=0, help="Leave out the first N requests.")]
StartOption = Annotated[float, typer.Option(min=0.0, help="Begin so many seconds after the first arrival.")]
DurationOption = Annotated[
    float | None, typer.Option(metavar="S", help="Take this many seconds of the trace.", show_default=False)
]
RateOption = Annotated[
    float | None,
    typer.Option(metavar="R", help="Stretch arrivals to this mean in requests per second.", show_default=False),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")]
TiersOption = Annotated[
    str | None,
    typer.Option(metavar="NAME:WEIGHT,…", help="Draw tiers for requests that have none.", show_default=False),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite OUT if it is there.")]


@contextmanager
def trace_errors() -> Iterator[None]:
    """Turn a TraceError into the line that `pdctl` prints."""
    from orchestrator.workload.trace import TraceError

    try:
        yield
    except TraceError as error:
        raise CliError(error.what, error.where, error.do) from error


def check_out(out: Path, force: bool) -> None:
    """Refuse a place that cannot be written, before any work is done."""
    if out.is_dir():
        raise usage("OUT is a directory", str(out), "give the name of a file")
    if out.exists() and not force:
        raise usage("OUT is there already", str(out), "choose another name, or overwrite it with --force")
    if not out.absolute().parent.is_dir():
        raise usage("no such directory", str(out.absolute().parent), "create it, or write elsewhere")


def check_pace(rate: float | None, duration_s: float | None) -> None:
    """Refuse a rate or duration that is none."""
    for name, value in (("--rate", rate), ("--duration-s", duration_s)):
        if value is not None and not (value > 0 and (math.isfinite(value) or name == "--rate")):
            raise usage(f"{value:g} is not above 0", name, "give a positive number")


def form_for(out: Path, wanted: FileForm | None) -> FileForm:
    """The form to write: the one that was asked for, else that of the name. Raises CliError for a name of another kind."""
    from orchestrator.workload.writer import form_of

    suffix = Path(out.name.removesuffix(".gz")).suffix
    if wanted is None and suffix not in ("", ".jsonl", ".ndjson", ".csv"):
        what = f"{out.name} ends in neither .jsonl nor .csv (or these with .gz)"
        raise usage(what, "OUT", "name it so, or say what to write with --format")
    return wanted or form_of(out)


def say_notes(notes: Notes) -> None:
    """Tell on stderr what was left out."""
    for line in notes.lines():
        say(line)
