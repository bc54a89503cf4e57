"""The options that every command takes: which cluster, what to show it, and how much to say when something fails."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(slots=True)
class Globals:
    """Values of the common options of this invocation; None where not given."""

    server: str | None = None
    run_dir: Path | None = None
    verbose: bool = False
    api_key_file: Path | None = None
    ca_file: Path | None = None


GLOBALS = Globals()


def reset() -> None:
    """Forget the options of an earlier invocation in this process."""
    GLOBALS.server, GLOBALS.run_dir, GLOBALS.verbose = None, None, False
    GLOBALS.api_key_file = GLOBALS.ca_file = None


def _keep_server(value: str | None) -> None:
    GLOBALS.server = value or GLOBALS.server


def _keep_run_dir(value: Path | None) -> None:
    GLOBALS.run_dir = value or GLOBALS.run_dir


def _keep_verbose(value: bool) -> None:
    GLOBALS.verbose = value or GLOBALS.verbose


def _keep_api_key_file(value: Path | None) -> None:
    GLOBALS.api_key_file = value or GLOBALS.api_key_file


def _keep_ca_file(value: Path | None) -> None:
    GLOBALS.ca_file = value or GLOBALS.ca_file


def _options(
    server: Annotated[
        str | None,
        typer.Option(
            callback=_keep_server, expose_value=False, metavar="HOST:PORT", help="gRPC address. [env: TANDEM_SERVER]"
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            callback=_keep_run_dir,
            expose_value=False,
            metavar="DIR",
            help="Run directory of the cluster. [env: TANDEM_RUN_DIR; ~/.tandem/default]",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            callback=_keep_api_key_file,
            expose_value=False,
            metavar="FILE",
            help="File with the API key. [env: TANDEM_API_KEY, TANDEM_API_KEY_FILE]",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            callback=_keep_ca_file,
            expose_value=False,
            metavar="FILE",
            help="Authorities to trust (PEM), for a cluster with TLS. [env: TANDEM_CA_FILE; your own certificate: "
            "TANDEM_CERT_FILE and TANDEM_KEY_FILE]",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", callback=_keep_verbose, expose_value=False, help="Show the traceback of an error."
        ),
    ] = False,
) -> None:
    """Carrier of the common options; never called."""


def attach(command: Any) -> None:
    """Give `command` the common options that it does not declare itself, so that they may stand anywhere on the line."""
    carrier = typer.Typer(add_completion=False, rich_markup_mode=None)
    carrier.command()(_options)
    taken = {flag for param in command.params for flag in param.opts}
    common = [p for p in typer.main.get_command(carrier).params if not taken.intersection(p.opts)]
    command.params.extend(common)
