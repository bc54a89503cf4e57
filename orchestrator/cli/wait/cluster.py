"""`pdctl wait cluster`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import Document, single
from orchestrator.cli.durations import seconds
from orchestrator.cli.errors import CliError, ExitCode
from orchestrator.cli.get.listing import items_of
from orchestrator.cli.output import Form, FormOption, dump
from orchestrator.cli.waiting import Look, until

ASK_S = 5.0


class Condition(StrEnum):
    """States of a cluster that can be waited for."""

    READY = "ready"


def cluster(
    condition: Annotated[Condition, typer.Option("--for", help="The state to wait for.")] = Condition.READY,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long at most: 90, 60s, 5m.")] = "120s",
    output: FormOption = Form.TABLE,
) -> None:
    """Wait until a cluster answers and every pool has all its workers; exit 1 if it is not so in time.

    For example: pdctl up -f my.yaml & pdctl wait cluster --for ready --timeout 3m
    """
    timeout_s = seconds(timeout, "--timeout")
    pools: list[Document] = []

    def look() -> Look:
        try:
            pools[:] = _pools()
        except CliError as error:
            # Not there yet is what one waits for; a wrong command line is not.
            if error.code is ExitCode.USAGE:
                raise
            return Look(False, error.what)
        missing = [f"{p['name']} {p['ready']}/{p['desired']}" for p in pools if p["ready"] != p["desired"]]
        return Look(bool(pools) and not missing, f"not all ready: {', '.join(missing)}")

    until(look, timeout_s, "a ready cluster", "look at `pdctl get workers` and `pdctl logs controller`, or wait longer")
    ready = sum(p["ready"] for p in pools)
    body = single("Cluster", {"state": str(condition), "workers_ready": ready, "pools": pools})
    print(dump(body, output) if output is not Form.TABLE else f"cluster {condition}: {ready} workers")


def _pools() -> list[Document]:
    with connect(ASK_S) as client:
        from pd.v1.admin_pb2 import ListPoolsRequest, ListWorkersRequest

        pools = items_of(client.admin.ListPools(ListPoolsRequest()))
        leaving = {w.pool for w in client.admin.ListWorkers(ListWorkersRequest()).items} - {p["name"] for p in pools}
        extra = [{"name": pool, "ready": 1, "desired": 0} for pool in sorted(leaving)]
        return [*pools, *extra]
