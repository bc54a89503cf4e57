"""`pdctl wait worker`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import Document, document, single
from orchestrator.cli.durations import seconds
from orchestrator.cli.names import WorkerArgument
from orchestrator.cli.output import Form, FormOption, dump
from orchestrator.cli.waiting import Look, until


class Condition(StrEnum):
    """States of a worker that can be waited for."""

    READY = "ready"
    DRAINED = "drained"
    DEAD = "dead"


def worker(
    name: WorkerArgument,
    condition: Annotated[Condition, typer.Option("--for", help="The state to wait for.")],
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long at most: 90, 60s, 5m.")] = "60s",
    output: FormOption = Form.TABLE,
) -> None:
    """Wait until a worker is ready, drained or dead; exit 1 if it is not in time.

    For example: pdctl drain decode-1 --no-wait && pdctl wait worker decode-1 --for drained --timeout 5m
    """
    timeout_s = seconds(timeout, "--timeout")
    row: Document = {}
    with connect() as client:
        from pd.v1.admin_pb2 import NameRequest

        def look() -> Look:
            row.update(document(client.admin.DescribeWorker(NameRequest(name=name)).worker))
            why = f", {row['message']}" if row["message"] else ""
            busy = f", {row['running']} running" if row["running"] else ""
            return Look(row["state"] == condition and not row["restarting"], f"{name} is {row['state']}{busy}{why}")

        until(look, timeout_s, f"worker {name} {condition}", f"look at `pdctl describe worker {name}`, or wait longer")
    print(dump(single("Worker", row), output) if output is not Form.TABLE else f"worker/{name} {row['state']}")
