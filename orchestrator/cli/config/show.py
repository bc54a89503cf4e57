"""`pdctl config show`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.config.files import load_file
from orchestrator.cli.connection import connect
from orchestrator.cli.errors import ExitCode
from orchestrator.cli.output import dump, say


class Text(StrEnum):
    """Forms of a configuration."""

    YAML = "yaml"
    JSON = "json"


def show(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Show this file instead of the running cluster.")
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Show the embedded default instead.")] = False,
    output: Annotated[Text, typer.Option("--output", "-o", help="Form of the output.")] = Text.YAML,
) -> None:
    """Print the configuration in force with every default written out."""
    print(dump(_document(file, default), output))


def _document(file: Path | None, default: bool) -> Any:
    if file is not None or default:
        from orchestrator.core.config import Cluster, ConfigError
        from orchestrator.core.config import dump as as_document

        try:
            return as_document(load_file(file) if file is not None else Cluster())
        except ConfigError as error:
            for problem in error.problems:
                say(f"error: {problem}")
            raise typer.Exit(ExitCode.FAILED) from error
    with connect() as client:
        from pd.v1.admin_pb2 import GetClusterRequest

        return json.loads(client.admin.GetCluster(GetClusterRequest()).spec_json or "{}")
