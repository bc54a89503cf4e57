"""`pdctl get events`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from orchestrator.cli.connection import Client, connect
from orchestrator.cli.documents import Document
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

POLL_S = 1.0

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
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="Only events of this object.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest; 0 for all.")] = 100,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    no_headers: NoHeadersOption = False,
) -> None:
    """List what happened to workers, pools, policies and the controller."""
    view = View.of(None, output, no_headers)
    with connect() as client:
        if watch:
            follow(EVENT, _poll(client, name, limit), view)
        else:
            show(EVENT, _list(client, name, 0, limit), view)


def _list(client: Client, name: str, after: int, limit: int) -> list[Document]:
    from pd.v1.admin_pb2 import ListEventsRequest

    return items_of(client.admin.ListEvents(ListEventsRequest(object=name, after=after, limit=limit or EVERYTHING)))


def _poll(client: Client, name: str, limit: int) -> Iterator[list[Document]]:
    after = 0
    while True:
        new = _list(client, name, after, limit if after == 0 else 0)
        after = max([after, *(int(e["sequence"]) for e in new)])
        yield new
        time.sleep(POLL_S)
