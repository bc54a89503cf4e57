"""`pdctl down`: stop a cluster and leave nothing of it running."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from orchestrator.cli.connection import run_directory
from orchestrator.cli.errors import CliError


def down(
    drain: Annotated[
        bool,
        typer.Option("--drain/--now", help="Let running requests finish, for at most drain.budgetS, or end them."),
    ] = True,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="How long it may take before it is killed; drain.budgetS + 30 s if absent."
        ),
    ] = None,
) -> None:
    """Stop the cluster of the run directory, however it was started.

    It takes no new requests and lets those that run finish first. For example: pdctl down --now
    """
    from orchestrator.control.problem import StartError
    from orchestrator.control.rundir import RunDirectory
    from orchestrator.control.takedown import take_down

    run_dir = RunDirectory(run_directory())
    try:
        take_down(run_dir, timeout, lambda line: print(line, file=sys.stderr, flush=True), drain)
    except StartError as error:
        raise CliError(error.message, do=error.remedy) from None
    print(f"the cluster in {run_dir.path} is down")
