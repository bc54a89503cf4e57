"""Restarts workers one after the other: drain, new processes, ready and warm, take work again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from orchestrator.cli.connection import Client, connect
from orchestrator.cli.documents import Document, document, listing
from orchestrator.cli.durations import seconds
from orchestrator.cli.errors import CliError
from orchestrator.cli.get.listing import items_of
from orchestrator.cli.output import Form, dump, say
from orchestrator.cli.units import duration
from orchestrator.cli.waiting import Look, until

BudgetOption = Annotated[
    str,
    typer.Option("--budget", "--budget-s", metavar="TIME", help="How long running work may go on: 90, 60s, 5m."),
]
TimeoutOption = Annotated[
    str, typer.Option(metavar="TIME", help="How long a worker may take to be ready again: 90, 60s, 5m.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Restart also when the budget is over; other workers carry on with the work.")
]
BOTH = "both"


@dataclass(frozen=True, slots=True)
class Pace:
    """Options of a restart, in seconds."""

    budget_s: float
    timeout_s: float
    force: bool

    @classmethod
    def of(cls, budget: str, timeout: str, force: bool) -> Pace:
        """From the command line's options; raises a usage error."""
        return cls(max(1e-3, seconds(budget, "--budget")), seconds(timeout, "--timeout"), force)


def restart(pace: Pace, output: Form, pool: str = "", name: str = "") -> None:
    """Restart the worker `name`, those of `pool`, or all; prints what was done. Raises CliError at the first failure."""
    done: list[Document] = []
    with connect() as client:
        from pd.v1.admin_pb2 import ListWorkersRequest, NameRequest

        if name:
            chosen = [name]
            client.admin.DescribeWorker(NameRequest(name=name))
        else:
            chosen = [w["name"] for w in items_of(client.admin.ListWorkers(ListWorkersRequest(pool=pool)))]
        for worker in chosen:
            begun_s = time.monotonic()
            try:
                row = _one(client, worker, pace)
            except KeyboardInterrupt:
                _take_back(client, worker, done, chosen)
                raise
            except CliError as error:
                raise CliError(f"{error.what}{_so_far(done, chosen)}", error.where, error.do) from error
            done.append({**row, "seconds": time.monotonic() - begun_s})
            if output is Form.TABLE:
                print(f"worker/{worker} restarted in {duration(done[-1]['seconds'])}", flush=True)
    if output is not Form.TABLE:
        print(dump(listing("Restart", done), output))
    elif not chosen:
        say("No workers found.")


def _one(client: Client, name: str, pace: Pace) -> Document:
    from pd.v1.admin_pb2 import NameRequest, RestartRequest

    found = client.admin.DescribeWorker(NameRequest(name=name))
    before, last_event = document(found.worker), max((e.sequence for e in found.events), default=0)
    _warn_if_alone(client, before)
    client.admin.Restart(RestartRequest(worker=name, budget_s=pace.budget_s, force=pace.force))
    row: Document = {}

    def look() -> Look:
        row.update(document(client.admin.DescribeWorker(NameRequest(name=name)).worker))
        again = row["incarnation"] not in (0, before["incarnation"])
        if not row["restarting"]:
            if not again:
                raise CliError(f"{name} was not restarted: {_why(client, name, last_event)}", "", _LONGER)
            return Look(True, f"{name} {row['state']}")
        if again and row["state"] == "dead" and row["restarts"]:
            raise CliError(f"{name} does not start: {row['message']}", "", f"look at `pdctl logs {name}`")
        return Look(False, f"{name}: {_state(row, again)}")

    longest_s = pace.budget_s + pace.timeout_s
    until(look, longest_s, f"the restart of {name}", f"look at `pdctl describe worker {name}` and `pdctl logs {name}`")
    return row


_LONGER = "give its work more time with --budget, or let other workers carry on with it by --force"


def _state(row: Document, again: bool) -> str:
    if not again:
        busy = f", {row['running']} running, {row['waiting']} waiting"
        return row["state"] + busy if row["state"] == "draining" else "stopping"
    return "starting" if row["state"] in ("starting", "dead") else "ready, warming its transport"


def _warn_if_alone(client: Client, row: Document) -> None:
    from pd.v1.admin_pb2 import ListWorkersRequest

    workers = items_of(client.admin.ListWorkers(ListWorkersRequest()))
    others = [w["role"] for w in workers if w["name"] != row["name"] and w["state"] == "ready"]
    if not others:
        say(f"{row['name']} is the only ready worker: requests wait or are refused until it is back")
        return
    for role in ("prefill", "decode"):
        if row["role"] in (role, BOTH) and not {role, BOTH}.intersection(others):
            say(f"{row['name']}: no other worker can {role}, so others run whole requests until it is back")


def _why(client: Client, name: str, after: int) -> str:
    """What the controller said of it since the event `after`."""
    from pd.v1.admin_pb2 import NameRequest

    events = client.admin.DescribeWorker(NameRequest(name=name)).events
    told = [e.message for e in events if e.sequence > after and e.reason == "RestartGivenUp"]
    return told[-1] if told else "somebody let it take work again"


def _take_back(client: Client, name: str, done: Sequence[Document], chosen: Sequence[str]) -> None:
    from pd.v1.admin_pb2 import RestartRequest

    if client.admin.Restart(RestartRequest(worker=name, cancel=True)).restarting:
        say(f"{name} is being restarted already and comes back by itself: `pdctl wait worker {name} --for ready`")
    else:
        say(f"{name} takes work again and was not restarted")
    say(f"interrupted{_so_far(done, chosen)}")


def _so_far(done: Sequence[Document], chosen: Sequence[str]) -> str:
    names = f": {', '.join(row['name'] for row in done)}" if done else ""
    return f" ({len(done)} of {len(chosen)} restarted{names})" if len(chosen) > 1 else ""
