"""Names of objects as the user writes them: `decode-0`, or `worker/decode-0` as `pdctl get -o name` prints it."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.output import say


def bare(kind: str, name: str) -> str:
    """The name without `kind/` before it."""
    return name.removeprefix(f"{kind}/")


def _worker(name: str) -> str:
    return bare("worker", name)


def _pool(name: str) -> str:
    return bare("pool", name)


def _request(name: str) -> str:
    return bare("request", name)


WorkerArgument = Annotated[
    str, typer.Argument(metavar="WORKER", help="The worker, as `pdctl get workers` names it.", callback=_worker)
]
PoolArgument = Annotated[
    str, typer.Argument(metavar="POOL", help="The pool, as `pdctl get pools` names it.", callback=_pool)
]
RequestArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The request, as `pdctl get requests` names it, or the `id` of an answer.", callback=_request
    ),
]


def tell_if_one_of_several(asked: str, found: str) -> None:
    """Say so where the cluster took a name for the first of the requests behind one answer."""
    if found.endswith("-0") and not asked.endswith(found):
        say(f"{asked} is no single request: this is the first of its answers, {found}; see {found[:-1]}1 and so on too")
