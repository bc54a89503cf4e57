"""`pdctl drain`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from orchestrator.cli.connection import Client, connect
from orchestrator.cli.documents import Document, document, single
from orchestrator.cli.durations import seconds
from orchestrator.cli.errors import CliError
from orchestrator.cli.names import WorkerArgument
from orchestrator.cli.output import Form, FormOption, dump, say
from orchestrator.cli.units import duration

# The server takes 0 for the cluster's own budget.
SHORTEST_S = 1e-3
GRACE_S = 15.0
POLL_S = 0.25


def drain(
    worker: WorkerArgument,
    budget: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long to wait for running work, which goes on after it: 90, 60s, 5m."),
    ] = "60s",
    resume: Annotated[bool, typer.Option("--resume", help="Let it take work again.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the worker is drained.")] = True,
    output: FormOption = Form.TABLE,
) -> None:
    """Stop new work on a worker, wait for what runs there, and say when it is drained."""
    budget_s = seconds(budget, "--budget")
    with connect() as client:
        from pd.v1.admin_pb2 import DrainRequest

        row = document(
            client.admin.Drain(DrainRequest(worker=worker, budget_s=max(budget_s, SHORTEST_S), resume=resume))
        )
        if wait and not resume:
            row = _wait(client, row, budget_s)
    if output is not Form.TABLE:
        print(dump(single("Worker", row), output))
    else:
        print(f"worker/{worker} {'resumed' if resume else row['state']}")


def _wait(client: Client, row: Document, budget_s: float) -> Document:
    from pd.v1.admin_pb2 import NameRequest

    name = row["name"]
    begun = time.monotonic()
    shown = None
    while row["state"] != "drained":
        waited_s = time.monotonic() - begun
        if row["state"] == "ready":
            raise CliError(f"draining {name} was undone", "somebody resumed it", f"run `pdctl drain {name}` again")
        if waited_s > budget_s + GRACE_S:
            raise CliError(
                f"{name} is still {row['state']} with {row['running']} running after {duration(waited_s)}",
                f"budget {duration(budget_s)}",
                f"it takes no new work and finishes what runs: wait on with `pdctl wait worker {name} --for drained`, "
                f"or end the drain with `pdctl drain {name} --resume`",
            )
        if shown != (row["running"], row["waiting"]):
            shown = (row["running"], row["waiting"])
            say(
                f"{name}: {row['state']}, {row['running']} running, {row['waiting']} waiting, {waited_s:.0f}s of {budget_s:.0f}s"
            )
        time.sleep(POLL_S)
        row = document(client.admin.DescribeWorker(NameRequest(name=name)).worker)
    return row
