"""`pdctl top`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.connection import Client, connect
from orchestrator.cli.documents import document, single
from orchestrator.cli.get.listing import EVERYTHING, items_of
from orchestrator.cli.output import Form, FormOption, Table, colour_allowed, dump
from orchestrator.cli.rates import Look, Rates
from orchestrator.cli.units import duration, share, size

if TYPE_CHECKING:
    from rich.console import Console

ACTIVE = ("queued", "prefilling", "transferring", "decoding")
STYLES = {"ready": "green", "dead": "red", "starting": "yellow", "draining": "yellow", "drained": "dim"}
FIRST_GAP_S = 0.5


def top(
    interval: Annotated[float, typer.Option(min=0.1, max=60.0, help="Seconds between frames.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and stop.")] = False,
    output: FormOption = Form.TABLE,
    json_: Annotated[bool, typer.Option("--json", help="The same as -o json.", hidden=True)] = False,
) -> None:
    """Live view of workers, KV use and rates; Ctrl-C ends it. With -o json or yaml one frame is printed."""
    form = Form.JSON if json_ else output
    with connect() as client:
        if once or form is not Form.TABLE or not sys.stdout.isatty():
            # Rates need two looks.
            old = _look(client)
            time.sleep(min(interval, FIRST_GAP_S))
            _print(client, old, _look(client), form)
        else:
            _live(client, interval)


def _look(client: Client) -> Look:
    from pd.v1.admin_pb2 import ListRequestsRequest, ListWorkersRequest

    workers = items_of(client.admin.ListWorkers(ListWorkersRequest()))
    requests = items_of(client.admin.ListRequests(ListRequestsRequest(limit=EVERYTHING)))
    return Look(time.monotonic(), workers, requests)


def _title(client: Client) -> str:
    from pd.v1.admin_pb2 import GetClusterRequest

    info = document(client.admin.GetCluster(GetClusterRequest()))
    url = f"   {info['http_url']}" if info["http_url"] else ""
    return f"{info['name']}   model {info['model']}   version {info['version']}{url}"


def _summary(look: Look, rates: Rates) -> str:
    states = Counter(r["state"] for r in look.requests)
    active = "   ".join(f"{states[s]} {s}" for s in ACTIVE)
    moved = f"{rates.arrivals:.1f} requests/s   {sum(rates.generated_tokens.values()):.0f} output tokens/s"
    return f"{active}   |   {moved}   KV {size(rates.pulled_bytes)}/s"


HEADERS = ("WORKER", "ROLE", "STATE", "RUNNING", "WAITING", "KV BLOCKS", "STEP", "IN TOK/S", "OUT TOK/S", "PULLED")


def _rows(look: Look, rates: Rates) -> list[list[str]]:
    return [
        [
            w["name"],
            w["role"],
            w["state"],
            str(w["running"]),
            str(w["waiting"]),
            share(w["kv_used_blocks"], w["kv_total_blocks"]),
            duration(w["step_time_s"]),
            f"{rates.prompt_tokens.get(w['name'], 0.0):.0f}",
            f"{rates.generated_tokens.get(w['name'], 0.0):.0f}",
            size(w["kv_bytes_pulled"]),
        ]
        for w in look.workers
    ]


def _print(client: Client, old: Look, look: Look, form: Form) -> None:
    rates = Rates.between(old, look)
    if form is not Form.TABLE:
        body = {
            "workers": look.workers,
            "requests_per_s": rates.arrivals,
            "output_tokens_per_s": sum(rates.generated_tokens.values()),
            "kv_bytes_per_s": rates.pulled_bytes,
        }
        print(dump(single("Top", body), form))
        return
    print(_title(client))
    print(_summary(look, rates) + "\n")
    Table(HEADERS).print(_rows(look, rates))


def _live(client: Client, interval: float) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table as RichTable
    from rich.text import Text

    console: Console = Console(no_color=not colour_allowed(sys.stdout), highlight=False)
    title, old = _title(client), None
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                look = _look(client)
                rates = Rates.between(old, look)
                table = RichTable(*HEADERS, box=None, header_style="bold", pad_edge=False)
                for row in _rows(look, rates):
                    table.add_row(*row, style=STYLES.get(row[2], "") if row[2] != "ready" else "")
                live.update(Group(Text(title, "bold"), Text(_summary(look, rates)), Text(), table), refresh=True)
                old = look
                time.sleep(interval)
    except KeyboardInterrupt:
        return
