"""`pdctl scale`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.connection import Client, connect
from orchestrator.cli.documents import document, single
from orchestrator.cli.durations import seconds
from orchestrator.cli.get.listing import items_of
from orchestrator.cli.names import PoolArgument
from orchestrator.cli.output import Form, FormOption, dump
from orchestrator.cli.waiting import Look, until


def scale(
    pool: PoolArgument,
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="How many workers the pool shall have.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the pool has that many.")] = False,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long --wait waits at most: 90, 60s, 5m.")] = "120s",
    output: FormOption = Form.TABLE,
) -> None:
    """Give a pool more or fewer workers; those that leave finish their work first, for at most `drain.budgetS`.

    For example: pdctl scale decode --replicas 4 --wait
    """
    timeout_s = seconds(timeout, "--timeout")
    with connect() as client:
        from pd.v1.admin_pb2 import ScaleRequest

        row = document(client.admin.Scale(ScaleRequest(pool=pool, count=replicas)))
        if wait:
            wait_for_pool(client, pool, replicas, timeout_s)
            row["ready"] = replicas
    print(dump(single("Pool", row), output) if output is not Form.TABLE else f"pool/{pool} scaled to {replicas}")


def wait_for_pool(client: Client, pool: str, replicas: int, timeout_s: float) -> None:
    """Until `pool` has exactly `replicas` workers and all are ready."""
    from pd.v1.admin_pb2 import ListWorkersRequest

    def look() -> Look:
        workers = [w for w in items_of(client.admin.ListWorkers(ListWorkersRequest())) if w["pool"] == pool]
        counts: dict[str, int] = {}
        for worker in workers:
            counts[worker["state"]] = counts.get(worker["state"], 0) + 1
        states = ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "no workers"
        ready = counts.get("ready", 0)
        return Look(ready == replicas == len(workers), f"pool {pool}: {states}; wanted {replicas}")

    until(look, timeout_s, f"pool {pool} with {replicas} workers", "look at `pdctl get workers` and `pdctl get events`")
