"""`pdctl up`: start a cluster, here or in the background."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.connection import run_directory
from orchestrator.cli.errors import CliError
from orchestrator.cli.globals import GLOBALS
from orchestrator.cli.output import Form, FormOption, dump
from orchestrator.cli.security_files import check_files
from orchestrator.core.config import Cluster, ConfigError, load, parse
from orchestrator.core.config import dump as dump_cluster


class TerminalReporter:
    """Progress for people on stderr; the result on stdout once the cluster serves."""

    def __init__(self, form: Form, detached: bool) -> None:
        self._form = form
        self._detached = detached

    def say(self, line: str) -> None:
        """One line of progress."""
        print(line, file=sys.stderr, flush=True)

    def ready(self, cluster: dict[str, Any]) -> None:
        """Print where the cluster answers."""
        if self._form is not Form.TABLE:
            print(dump(cluster, self._form), flush=True)
            return
        print(f"{cluster['name']} is ready")
        print(f"  OpenAI API  {cluster['http_url']}/v1")
        print(f"  gRPC        {cluster['grpc_address']}")
        where = f" --run-dir {shlex.quote(str(GLOBALS.run_dir))}" if GLOBALS.run_dir else ""
        stop = f"`pdctl down{where}`" if self._detached else "Ctrl-C"
        print(f"  run dir     {cluster['run_dir']}\nStop it with {stop}.", flush=True)


def configured(
    file: Path | None, name: str | None = None, http_port: int | None = None, grpc_port: int | None = None
) -> Cluster:
    """The cluster of `file`, or the embedded default, with what the command line overrides; raises CliError."""
    from orchestrator.policies.registry import catalog

    try:
        cluster = load(file, catalog()) if file else Cluster()
        front_door = cluster.spec.front_door
        front_door = dataclasses.replace(
            front_door,
            http_port=front_door.http_port if http_port is None else http_port,
            grpc_port=front_door.grpc_port if grpc_port is None else grpc_port,
        )
        cluster = dataclasses.replace(
            cluster,
            metadata=dataclasses.replace(cluster.metadata, name=name or cluster.name),
            spec=dataclasses.replace(cluster.spec, front_door=front_door),
        )
        return parse(dump_cluster(cluster), "the command line")
    except ConfigError as error:
        raise CliError(str(error)) from None


def up(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="cluster.yaml; a laptop cluster if absent.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background; return when ready.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the cluster, instead of metadata.name.")] = None,
    http_port: Annotated[int | None, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(min=0, max=65535, help="gRPC port; 0 takes a free one.")] = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Start a cluster and keep it until Ctrl-C, or until `pdctl down` with --detach."""
    cluster = configured(file, name, http_port, grpc_port)
    check_files(cluster)
    from orchestrator.control import detached, launch
    from orchestrator.control.problem import StartError
    from orchestrator.control.rundir import RunDirectory

    run_dir = RunDirectory(run_directory())
    reporter = TerminalReporter(output, detach)
    try:
        if detach:
            detached.start(cluster, run_dir, reporter)
        else:
            launch.run(cluster, run_dir, reporter)
    except StartError as error:
        raise CliError(error.message, do=error.remedy) from None
