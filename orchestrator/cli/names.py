"""Names of objects as the user writes them: `decode-0`, or `worker/decode-0` as `pdctl get -o name` prints it."""

from __future__ import annotations

from typing import Annotated

import typer


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
    str, typer.Argument(metavar="ID", help="The request, as `pdctl get requests` names it.", callback=_request)
]
