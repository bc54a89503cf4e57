"""`pdctl get policies`."""

from __future__ import annotations

import time
from collections.abc import Iterator

from orchestrator.cli.connection import Client, connect
from orchestrator.cli.documents import Document
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

POLL_S = 2.0


def parameters(policy: Document) -> str:
    """`a=1 b=2`, or `-`."""
    return " ".join(f"{k}={v}" for k, v in policy["parameters"].items()) or "-"


POLICY = Noun(
    "Policy",
    "decision",
    (
        Column("DECISION", lambda p: str(p["decision"])),
        Column("POLICY", lambda p: str(p["name"])),
        Column("PARAMETERS", parameters),
        Column("AVAILABLE", lambda p: ", ".join(c["name"] for c in p["available"]) or "-", wide=True),
    ),
)


def policies(
    names: NamesArgument = None,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    no_headers: NoHeadersOption = False,
) -> None:
    """List the policy in force for each decision; NAME is a decision."""
    view = View.of(names, output, no_headers)
    with connect() as client:
        if watch:
            follow(POLICY, _poll(client), view)
        else:
            show(POLICY, _list(client), view)


def _list(client: Client) -> list[Document]:
    from pd.v1.admin_pb2 import ListPoliciesRequest

    return items_of(client.admin.ListPolicies(ListPoliciesRequest()))


def _poll(client: Client) -> Iterator[list[Document]]:
    while True:
        yield _list(client)
        time.sleep(POLL_S)
