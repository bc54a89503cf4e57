"""`pdctl logs`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from orchestrator.cli.connection import connect, run_directory
from orchestrator.cli.errors import CliError
from orchestrator.cli.globals import GLOBALS
from orchestrator.cli.names import bare
from orchestrator.logs import Follower, Logs, UnknownLog
from orchestrator.logs.tail import MOST_LINES

POLL_S = 0.2


def logs(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A worker, `controller`, `frontdoor`, or `up`, which is the launcher.")
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on and print what is added, until Ctrl-C.")
    ] = False,
    tail: Annotated[int, typer.Option(min=0, max=MOST_LINES, help="Begin with the last so many lines.")] = 100,
) -> None:
    """Print the log of a worker, the controller or a front door, also after its cluster has crashed.

    Read from the run directory if it is on this machine, else asked of the cluster. For example: pdctl logs decode-0 --tail 20 -f
    """
    name = bare("worker", name)
    local = Logs(run_directory())
    with contextlib.suppress(KeyboardInterrupt):
        for data in _local(local, name, follow, tail) if _is_here(local) else _asked(name, follow, tail):
            sys.stdout.buffer.write(data)
            sys.stdout.flush()


def _is_here(local: Logs) -> bool:
    import os

    elsewhere = GLOBALS.server or (None if GLOBALS.run_dir else os.environ.get("TANDEM_SERVER"))
    return not elsewhere and local.directory.is_dir()


def _local(local: Logs, name: str, follow: bool, tail: int) -> Iterator[bytes]:
    try:
        follower = Follower(local.path(name))
    except UnknownLog as error:
        known = f"use one of: {', '.join(error.known)}" if error.known else "there are no logs yet"
        raise CliError(str(error), str(local.directory), known) from None
    yield follower.start(tail)
    while follow:
        if data := follower.more():
            yield data
        else:
            time.sleep(POLL_S)
    follower.close()


def _asked(name: str, follow: bool, tail: int) -> Iterator[bytes]:
    with connect() as client:
        from pd.v1.admin_pb2 import LogsRequest

        for chunk in client.admin.Logs(LogsRequest(name=name, tail=tail, follow=follow)):
            yield chunk.data
