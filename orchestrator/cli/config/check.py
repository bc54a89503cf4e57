"""`pdctl config check`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.config.files import load_file
from orchestrator.cli.errors import ExitCode
from orchestrator.cli.output import Form, FormOption, dump, say
from orchestrator.cli.security_files import problems_of


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A cluster.yaml.")],
    output: FormOption = Form.TABLE,
) -> None:
    """Validate a cluster.yaml and the certificates and key files that it names; each problem has its line, the value and the remedy."""
    from orchestrator.core.config import ConfigError

    try:
        cluster = load_file(file)
        if problems := problems_of(cluster, file):
            raise ConfigError(problems)
    except ConfigError as error:
        for problem in error.problems:
            say(f"error: {problem}")
        if output is not Form.TABLE:
            listed = [dataclasses.asdict(p) for p in error.problems]
            print(dump({"file": str(file), "valid": False, "problems": listed}, output))
        raise typer.Exit(ExitCode.FAILED) from error
    if output is not Form.TABLE:
        print(dump({"file": str(file), "valid": True, "problems": []}, output))
        return
    workers = sum(pool.count for pool in cluster.spec.pools)
    print(f"{file} is valid: cluster {cluster.name}, model {cluster.spec.model.path}, {workers} workers")
