"""`pdctl get workers`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.get.listing import (
    Column,
    NamesArgument,
    NoHeadersOption,
    Noun,
    View,
    WatchOption,
    follow,
    items_of,
    show,
)
from orchestrator.cli.output import Output, OutputOption
from orchestrator.cli.units import age, duration, share, size

WORKER = Noun(
    "Worker",
    "name",
    (
        Column("NAME", lambda w: str(w["name"])),
        Column("POOL", lambda w: str(w["pool"])),
        Column("ROLE", lambda w: str(w["role"])),
        Column("STATE", lambda w: str(w["state"])),
        Column("PID", lambda w: str(w["pid"] or "-")),
        Column("RUNNING", lambda w: str(w["running"])),
        Column("WAITING", lambda w: str(w["waiting"])),
        Column("KV", lambda w: share(w["kv_used_blocks"], w["kv_total_blocks"])),
        Column("RESTARTS", lambda w: str(w["restarts"])),
        Column("AGE", lambda w: age(w["age_s"])),
        Column("NODE", lambda w: str(w["node"] or "-"), wide=True),
        Column("ADDRESS", lambda w: str(w["address"] or "-"), wide=True),
        Column("LEASED", lambda w: str(w["leased_blocks"]), wide=True),
        Column("RESERVED", lambda w: str(w["reserved_blocks"]), wide=True),
        Column("STEP", lambda w: duration(w["step_time_s"]), wide=True),
        Column("PULLED", lambda w: size(w["kv_bytes_pulled"]), wide=True),
        Column("PULLS", lambda w: str(w["kv_pulls"]), wide=True),
        Column("FAILED", lambda w: str(w["kv_pull_failures"]), wide=True),
        Column("PREEMPTIONS", lambda w: str(w["preemptions"]), wide=True),
        Column("MESSAGE", lambda w: str(w["message"]), wide=True),
    ),
)


def workers(
    names: NamesArgument = None,
    pool: Annotated[str, typer.Option(help="Only workers of this pool.", show_default=False)] = "",
    role: Annotated[str, typer.Option(help="Only prefill, decode or both.", show_default=False)] = "",
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    no_headers: NoHeadersOption = False,
) -> None:
    """List workers with their role, state, load and KV use."""
    view = View.of(names, output, no_headers)
    with connect() as client:
        from pd.v1.admin_pb2 import ListWorkersRequest

        request = ListWorkersRequest(pool=pool, role=role)
        if watch:
            follow(WORKER, (items_of(reply) for reply in client.admin.WatchWorkers(request)), view)
        else:
            show(WORKER, items_of(client.admin.ListWorkers(request)), view)
