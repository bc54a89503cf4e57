"""`pdctl version`."""

from __future__ import annotations

import platform
from typing import Annotated, Any

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.errors import CliError
from orchestrator.cli.output import Form, FormOption, dump, pairs

TIMEOUT_S = 2.0


def package_version() -> str:
    """Version of the installed package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tandem")
    except PackageNotFoundError:
        return "unknown"


def version(
    client: Annotated[bool, typer.Option("--client", help="Only that of pdctl; do not ask the cluster.")] = False,
    output: FormOption = Form.TABLE,
) -> None:
    """Print the versions of pdctl and, if one runs, of the cluster."""
    document: dict[str, Any] = {"version": package_version(), "python": platform.python_version(), "cluster": None}
    if not client:
        document["cluster"] = _cluster()
    if output is not Form.TABLE:
        print(dump(document, output))
        return
    server = document["cluster"]
    pairs(
        [
            ("pdctl", f"{document['version']} (python {document['python']})"),
            (
                "cluster",
                f"{server['version']} ({server['name']}, model {server['model']})" if server else "not running",
            ),
        ]
    )


def _cluster() -> dict[str, str] | None:
    try:
        with connect(TIMEOUT_S) as client:
            from pd.v1.admin_pb2 import GetClusterRequest

            info = client.admin.GetCluster(GetClusterRequest())
    except CliError as error:
        if error.code != 1:
            raise
        return None
    return {"name": info.name, "model": info.model, "version": info.version}
