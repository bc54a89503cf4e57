"""`pdctl apply`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.connection import Client, connect
from orchestrator.cli.documents import Document, document, single
from orchestrator.cli.errors import CliError
from orchestrator.cli.output import Form, FormOption, Table, dump, say
from orchestrator.cli.up import configured

EFFECTS = {"at_once": "at once", "scale": "scales", "restart": "after a restart", "refused": "refused"}
WIDEST = 40


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="The cluster.yaml to put in force.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    name: Annotated[str | None, typer.Option(help="As given to `pdctl up`.")] = None,
    http_port: Annotated[int | None, typer.Option(min=0, max=65535, help="As given to `pdctl up`.")] = None,
    grpc_port: Annotated[int | None, typer.Option(min=0, max=65535, help="As given to `pdctl up`.")] = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Show how a cluster.yaml differs from the running cluster, and put it in force.

    Pools grow and shrink, policies, tiers and budgets change at once, engine settings with the next restart of a worker. What needs a
    new start (model, block size, ports, state) is refused, and then nothing changes. For example: pdctl apply -f my.yaml --dry-run
    """
    spec_json = json.dumps(_document(file, name, http_port, grpc_port))
    with connect() as client:
        found = _ask(client, spec_json, dry_run=True)
        refused = [c for c in found["changes"] if c["effect"] == "refused"]
        if not refused and not dry_run and found["changes"]:
            found = _ask(client, spec_json, dry_run=False)
    if output is not Form.TABLE:
        print(dump(single("Apply", found), output))
    else:
        _print(found, dry_run)
    if refused:
        paths = ", ".join(c["path"] for c in refused)
        what = "would be refused" if dry_run else "nothing was changed"
        raise CliError(f"{paths} cannot change while the cluster runs: {what}", str(file), _REMEDY)


_REMEDY = "take that back, or `pdctl down` and `pdctl up -f` the file"


def _document(file: Path, name: str | None, http_port: int | None, grpc_port: int | None) -> dict[str, Any]:
    from orchestrator.core.config import dump as as_document

    return as_document(configured(file, name, http_port, grpc_port))


def _ask(client: Client, spec_json: str, dry_run: bool) -> Document:
    from pd.v1.admin_pb2 import ApplyRequest

    return document(client.admin.Apply(ApplyRequest(spec_json=spec_json, dry_run=dry_run)))


def _print(found: Document, dry_run: bool) -> None:
    changes = found["changes"]
    if not changes:
        say("nothing differs from what is in force")
        return
    rows = [
        [c["path"].removeprefix("spec."), _shown(c["old"]), _shown(c["new"]), EFFECTS[c["effect"]], c["note"]]
        for c in changes
    ]
    Table(["FIELD", "IN FORCE", "WANTED", "EFFECT", "NOTE"]).print(rows)
    if found["applied"]:
        say(f"applied {len(changes)} changes")
    elif dry_run:
        say("dry run: nothing was changed")


def _shown(value: Any) -> str:
    if value == {}:
        return "-"
    if isinstance(value, dict) and value.keys() == {"name", "parameters"}:
        inside = " ".join(f"{k}={v}" for k, v in value["parameters"].items())
        text = f"{value['name']} {inside}".strip()
    else:
        text = json.dumps(value, ensure_ascii=False).strip('"')
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
