"""What to do so that the cluster becomes what the store says is wanted: a pure function of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from orchestrator.control.drain import patience_s
from orchestrator.control.names import pool_worker

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PoolTarget:
    """How many workers a pool shall have and the role that new ones start with."""

    name: str
    role: str
    count: int


@dataclass(frozen=True, slots=True)
class CreateWorker:
    """Write `worker/NAME` first; the host follows once it is wanted."""

    name: str
    pool: str
    role: str
    index: int


@dataclass(frozen=True, slots=True)
class StartHost:
    """Make the host actor of a wanted worker that has none."""

    name: str
    pool: str


@dataclass(frozen=True, slots=True)
class StopHost:
    """End a host that nobody wants, with its engine and placement group."""

    name: str


@dataclass(frozen=True, slots=True)
class RetireWorker:
    """Let a worker that is wanted no more finish its work."""

    name: str


@dataclass(frozen=True, slots=True)
class KeepWorker:
    """A worker that was to leave is wanted again."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveWorker:
    """Take back `worker/NAME`; its host is stopped in a later tick because nobody wants it any more.

    `busy` if its time was up before its work was: front doors carry on with that work elsewhere.
    """

    name: str
    busy: bool = False


Action = CreateWorker | StartHost | StopHost | RetireWorker | KeepWorker | RemoveWorker


def reconcile(
    pools: Iterable[PoolTarget],
    workers: Mapping[str, Document],
    hosts: Set[str],
    serving: Set[str] = frozenset(),
    now: float = 0.0,
) -> list[Action]:
    """Actions for one tick, in order.

    `workers` are the desired documents by name, `hosts` the workers whose host lives (or is being restarted by Ray), `serving` those
    whose engine serves, `now` on the clock of `requested_at`. A worker document is written one tick before its host is made, and
    taken back one tick before its host is stopped, so that a controller that dies in between finds in the store what it was about.
    A pool that shrinks gives up its highest indices; those that serve are drained first. What lives and is wanted is left alone.
    """
    targets = {pool.name: pool for pool in pools}
    actions: list[Action] = []
    for pool in targets.values():
        for index in range(pool.count):
            name = pool_worker(pool.name, index)
            if name not in workers:
                actions.append(CreateWorker(name, pool.name, pool.role, index))
    for name, document in workers.items():
        target = targets.get(document["pool"])
        if target is None or document["index"] >= target.count:
            if (step := _leave(name, document, name in serving, now)) is not None:
                actions.append(step)
            continue
        if leaving(document):
            actions.append(KeepWorker(name))
        if name not in hosts:
            actions.append(StartHost(name, target.name))
    actions.extend(StopHost(name) for name in sorted(hosts - workers.keys()))
    return actions


def leaving(document: Document) -> bool:
    """The worker is drained because nobody wants it any more."""
    return bool(document["drain"] and document["drain"].get("leaving"))


def _leave(name: str, document: Document, serves: bool, now: float) -> Action | None:
    """The next step of a worker that nobody wants: None while it finishes its work."""
    if not serves or document["drained"]:
        return RemoveWorker(name)
    if not leaving(document):
        return RetireWorker(name)
    drain = document["drain"]
    over = drain.get("exceeded") or now > drain["requested_at"] + patience_s(drain["budget_s"])
    return RemoveWorker(name, busy=True) if over else None
