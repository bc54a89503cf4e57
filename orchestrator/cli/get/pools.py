"""`pdctl get pools`."""

from __future__ import annotations

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

POOL = Noun(
    "Pool",
    "name",
    (
        Column("NAME", lambda p: str(p["name"])),
        Column("ROLE", lambda p: str(p["role"])),
        Column("READY", lambda p: f"{p['ready']}/{p['desired']}"),
        Column("HARDWARE", lambda p: str(p["hardware"] or "-")),
    ),
)


def pools(
    names: NamesArgument = None,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    no_headers: NoHeadersOption = False,
) -> None:
    """List pools with their wanted and ready workers."""
    view = View.of(names, output, no_headers)
    with connect() as client:
        from pd.v1.admin_pb2 import ListPoolsRequest

        request = ListPoolsRequest()
        if watch:
            follow(POOL, (items_of(reply) for reply in client.admin.WatchPools(request)), view)
        else:
            show(POOL, items_of(client.admin.ListPools(request)), view)
