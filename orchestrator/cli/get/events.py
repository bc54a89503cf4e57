"""`pdctl get events`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.errors import usage
from orchestrator.cli.get.listing import (
    EVERYTHING,
    Column,
    NoHeadersOption,
    Noun,
    View,
    WatchOption,
    follow,
    items_of,
    show,
)
from orchestrator.cli.output import Output, OutputOption
from orchestrator.cli.units import age

EVENT = Noun(
    "Event",
    "sequence",
    (
        Column("LAST SEEN", lambda e: age(time.time() - e["at"])),
        Column("OBJECT", lambda e: f"{e['kind']}/{e['object']}"),
        Column("REASON", lambda e: str(e["reason"])),
        Column("MESSAGE", lambda e: str(e["message"])),
        Column("SEQUENCE", lambda e: str(e["sequence"]), wide=True),
    ),
)


def events(
    name: Annotated[
        str,
        typer.Argument(metavar="OBJECT", help="Only events of decode-0, or of worker/decode-0.", show_default=False),
    ] = "",
    about: Annotated[str, typer.Option("--object", help="The same as OBJECT.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest; 0 for all.")] = 100,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    no_headers: NoHeadersOption = False,
) -> None:
    """List what happened to workers, pools, policies and the controller.

    For example: pdctl get events --object decode-0 -w
    """
    if name and about and name != about:
        raise usage(f"{name!r} and {about!r} are two objects", "--object", "give one of them")
    view = View.of(None, output, no_headers)
    with connect() as client:
        from pd.v1.admin_pb2 import ListEventsRequest

        request = ListEventsRequest(object=name or about, limit=limit or EVERYTHING)
        if watch:
            follow(EVENT, (items_of(reply) for reply in client.admin.WatchEvents(request)), view)
        else:
            show(EVENT, items_of(client.admin.ListEvents(request)), view)
