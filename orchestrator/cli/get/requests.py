"""`pdctl get requests`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.connection import connect
from orchestrator.cli.documents import Document
from orchestrator.cli.get.listing import (
    EVERYTHING,
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
from orchestrator.cli.output import Output, OutputOption, say
from orchestrator.cli.units import age, duration


def _path(request: Document) -> str:
    prefill, decode = request["prefill_worker"], request["decode_worker"]
    if request["co_located"] or prefill == decode:
        return str(prefill or decode or "-")
    return f"{prefill or '-'} → {decode or '-'}"


REQUEST = Noun(
    "Request",
    "request_id",
    (
        Column("ID", lambda r: str(r["request_id"])),
        Column("STATE", lambda r: str(r["state"])),
        Column("PROMPT", lambda r: str(r["prompt_tokens"])),
        Column("OUTPUT", lambda r: f"{r['output_tokens']}/{r['max_tokens']}"),
        Column("TTFT", lambda r: duration(r["ttft_s"])),
        Column("WORKERS", _path),
        Column("FINISH", lambda r: str(r["finish_reason"] or "-")),
        Column("AGE", lambda r: age(r["age_s"])),
        Column("ATTEMPT", lambda r: str(r["attempt"]), wide=True),
        Column("TIER", lambda r: str(r["tier"] or "-"), wide=True),
        Column("MODEL", lambda r: str(r["model"] or "-"), wide=True),
        Column("FRONT DOOR", lambda r: str(r["front_door"] or "-"), wide=True),
    ),
)


def requests(
    names: NamesArgument = None,
    state: Annotated[
        str, typer.Option(help="Only queued, prefilling, transferring, decoding, finished, failed or cancelled.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest; 0 for all that are known.")] = 100,
    output: OutputOption = Output.TABLE,
    watch: WatchOption = False,
    no_headers: NoHeadersOption = False,
) -> None:
    """List the requests that run, and those that ended lately, of all front doors."""
    view = View.of(names, output, no_headers)
    with connect() as client:
        from pd.v1.admin_pb2 import ListRequestsRequest

        request = ListRequestsRequest(state=state, limit=EVERYTHING if names else limit or EVERYTHING)
        if watch:
            follow(REQUEST, (items_of(reply) for reply in client.admin.WatchRequests(request)), view)
        else:
            reply = client.admin.ListRequests(request)
            for door in reply.silent_front_doors:
                say(f"{door} did not answer: its requests are missing")
            show(REQUEST, items_of(reply), view)
