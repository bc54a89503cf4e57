"""`pdctl down`: stop a cluster and leave nothing of it running."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from orchestrator.cli.connection import run_directory
from orchestrator.cli.errors import CliError


def down(
    timeout: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long it may take to stop by itself before it is killed."),
    ] = 30.0,
) -> None:
    """Stop the cluster of the run directory, however it was started."""
    from orchestrator.control.problem import StartError
    from orchestrator.control.rundir import RunDirectory
    from orchestrator.control.takedown import take_down

    run_dir = RunDirectory(run_directory())
    try:
        take_down(run_dir, timeout, lambda line: print(line, file=sys.stderr, flush=True))
    except StartError as error:
        raise CliError(error.message, do=error.remedy) from None
    print(f"the cluster in {run_dir.path} is down")
