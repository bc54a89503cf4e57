"""The controller: a Ray actor that ticks and is never on a request's path. Collect → decide → act → record."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.control.actions import Hosts
from orchestrator.control.anchors import DrainAnchors
from orchestrator.control.decide import Decisions
from orchestrator.control.desired import Desired
from orchestrator.control.drain import DrainStep, drain_step, draining
from orchestrator.control.logfile import log_to, shape_log
from orchestrator.control.prewarm import Pair, Peer, Prewarmer
from orchestrator.control.probe import Probe
from orchestrator.control.process import process_config
from orchestrator.control.reconcile import (
    CreateWorker,
    KeepWorker,
    PoolTarget,
    RemoveWorker,
    RetireWorker,
    StartHost,
    StopHost,
    reconcile,
)
from orchestrator.control.restart import RestartStep, restart_step
from orchestrator.core.cluster import Role
from orchestrator.core.config import Cluster, parse
from orchestrator.state import Document, StoreError, open_store
from orchestrator.state.events import Event, flush, record
from workers.host import COMMAND

log = logging.getLogger(__name__)

TICK_S = 0.25
DESCRIBE_S = 1.0
WARM_S = 20.0
"""A restarted worker takes work after this time even if a transport pair stays cold, which only costs its first request time."""


class Controller:
    """Makes the cluster what the store says is wanted.

    All that it must not forget is in the store, so a controller that Ray restarts carries on: hosts are found again by name, and what is
    alive is left alone. `command` starts an engine process (see `workers.host.COMMAND`).
    """

    def __init__(self, cluster: str, store_url: str, run_dir: str, command: Sequence[str] = COMMAND) -> None:
        self._name = cluster
        self._run_dir = run_dir
        self._store = open_store(store_url, cluster)
        log_to(Path(run_dir) / "logs" / "controller.log")
        self._desired = Desired(self._store)
        self._anchors = DrainAnchors()
        # A host that was killed cannot take its endpoint back.
        self._hosts = Hosts(cluster, store_url, run_dir, command, self._forget_endpoint)
        self._ready_since: dict[tuple[str, int], float] = {}
        self._probe = Probe()
        self._prewarmer = Prewarmer()
        self._decisions = Decisions(self._store)
        self._warm = 0
        self._problems: dict[Pair, str] = {}
        """Told in an event already."""
        self._ticks = self._turns = 0
        self._described = 0
        self._failure = ""
        self._spec: tuple[Document, Cluster] | None = None
        self._stopping = threading.Event()
        self._record_start()
        self._thread = threading.Thread(target=self._run, name="tick", daemon=True)
        self._thread.start()

    def status(self) -> dict[str, Any]:
        """`pid`, `run_dir`, `ticks` done of `turns` begun, `workers_described`, and `failure`, what the last tick stumbled over.

        `pairs_warm` of `pairs_wanted` transport pairs among the described workers are warm.
        """
        return {
            "pid": os.getpid(),
            "run_dir": self._run_dir,
            "ticks": self._ticks,
            "turns": self._turns,
            "workers_described": self._described,
            "pairs_warm": self._prewarmer.warm,
            "pairs_wanted": self._prewarmer.wanted,
            "pair_problems": sorted(self._probe.problems.values()),
            "failure": self._failure,
        }

    def stop(self) -> None:
        """End every host and its engine; ticks no more. Returns when they are gone."""
        self._stopping.set()
        self._thread.join()
        self._hosts.stop_all(self._hosts.alive())

    def _forget_endpoint(self, name: str) -> None:
        self._store.delete("endpoint", name)

    def _record_start(self) -> None:
        def started(before: Document | None) -> Document:
            restarts = before["restarts"] + 1 if before else 0
            return {"pid": os.getpid(), "started_at": time.time(), "restarts": restarts}

        document = self._store.update("controller", "main", started)
        again = document is not None and document["restarts"] > 0
        event = Event.CONTROLLER_RESTARTED if again else Event.CONTROLLER_STARTED
        record(self._store, "controller", "main", event, f"process {os.getpid()}")

    def _run(self) -> None:
        while not self._stopping.wait(TICK_S):
            self._turns += 1
            try:
                self._tick()
                self._ticks += 1
                self._failure = ""
            except Exception as error:
                # Whatever it is (store away, Ray busy), the next tick sees the same desired state and tries again.
                log.exception("tick failed")
                self._note_failure(f"{type(error).__name__}: {error}")

    def _note_failure(self, failure: str) -> None:
        if failure != self._failure:
            self._failure = failure
            record(self._store, "controller", "main", Event.TICK_FAILED, failure)

    def _tick(self) -> None:
        document = self._store.get("cluster", "spec")
        if document is None:
            return
        cluster = self._cluster(document)
        endpoints = self._store.list("endpoint")
        serving = {name for name, endpoint in endpoints.items() if endpoint["state"] == "ready"}
        failures = self._attempt(lambda: self._reconcile(cluster, serving))
        failures += self._attempt(lambda: self._decisions.write_missing(cluster.spec.policies))
        workers = self._store.list("worker")
        ready = {n: e for n, e in endpoints.items() if n in workers and e["state"] == "ready"}
        self._probe.forget(ready)
        for name, endpoint in ready.items():
            settled = self._probe.seen(endpoint) is not None and not draining(workers[name])
            self._probe.describe(endpoint, DESCRIBE_S if settled else TICK_S)
        seen = {name: self._probe.seen(endpoint) for name, endpoint in ready.items()}
        failures += self._attempt(lambda: self._drain(workers, ready))
        failures += self._attempt(lambda: self._prewarm(workers, ready))
        failures += self._attempt(lambda: self._restart(workers, endpoints))
        failures += self._attempt(lambda: self._decisions.tick(workers, seen))
        flush(self._store)
        if failures:
            raise failures[0]

    def _attempt(self, step: Callable[[], None]) -> list[StoreError]:
        """Do `step`; a store that refuses a write (its disk is full) must not keep the other steps from theirs."""
        try:
            step()
        except StoreError as error:
            return [error]
        return []

    def _cluster(self, document: Document) -> Cluster:
        if self._spec is None or self._spec[0] != document:
            self._spec = (document, parse(document))
            shape_log(self._spec[1].spec.observability)
        return self._spec[1]

    def _reconcile(self, cluster: Cluster, serving: set[str]) -> None:
        pools = {pool.name: pool for pool in cluster.spec.pools}
        targets = [PoolTarget(pool.name, str(pool.role), pool.count) for pool in pools.values()]
        workers = self._store.list("worker")
        local = self._anchors.local(workers)
        for action in reconcile(targets, local, self._hosts.alive(), serving, time.monotonic()):
            match action:
                case CreateWorker(name, pool, role, index):
                    self._desired.create(name, pool, role, index)
                case StartHost(name, pool):
                    if self._hosts.start(name, pools[pool].resources, process_config(cluster, pools[pool])):
                        record(self._store, "worker", name, Event.HOST_STARTED)
                case RetireWorker(name):
                    self._desired.retire(name, workers[name], cluster.spec.drain.budget_s)
                case KeepWorker(name):
                    self._desired.keep(name, workers[name])
                case RemoveWorker(name, busy):
                    self._desired.remove(name, busy)
                case StopHost(name):
                    self._hosts.stop(name)

    def _drain(self, workers: dict[str, Document], ready: dict[str, Document]) -> None:
        local, now = self._anchors.local(workers), time.monotonic()
        for name, worker in workers.items():
            seen = self._probe.seen(ready[name]) if name in ready else None
            match drain_step(local[name], seen.occupancy if seen else None, now):
                case DrainStep.DRAINED:
                    self._desired.drained(name, worker, now - local[name]["drain"]["requested_at"])
                case DrainStep.BUDGET_EXCEEDED:
                    self._desired.exceeded(name, worker)

    def _restart(self, workers: dict[str, Document], endpoints: dict[str, Document]) -> None:
        for name, worker in workers.items():
            endpoint = endpoints.get(name)
            match restart_step(worker, endpoint, endpoint is not None and self._is_warm(name, endpoint)):
                case RestartStep.STOP:
                    if self._hosts.stop(name):
                        record(self._store, "worker", name, Event.RESTARTING)
                case RestartStep.RESUME:
                    self._desired.restarted(name, worker, endpoint["pid"] if endpoint else 0)
                case RestartStep.GIVE_UP:
                    self._desired.restart_given_up(name, worker)

    def _is_warm(self, name: str, endpoint: Document) -> bool:
        if endpoint["state"] != "ready" or self._probe.seen(endpoint) is None:
            return False
        key = (name, endpoint["incarnation"])
        since = self._ready_since.setdefault(key, time.monotonic())
        for old in [k for k in self._ready_since if k[0] == name and k != key]:
            del self._ready_since[old]
        return self._prewarmer.cold(*key) == 0 or time.monotonic() - since > WARM_S

    def _prewarm(self, workers: dict[str, Document], ready: dict[str, Document]) -> None:
        peers = []
        for name, endpoint in ready.items():
            if (seen := self._probe.seen(endpoint)) is not None:
                metadata, model = seen.description.transport_metadata, seen.description.model
                role = Role.parse(workers[name]["role"])
                peers.append(Peer(name, endpoint["incarnation"], role, endpoint["address"], metadata, model))
        self._described = len(peers)
        for pair in self._probe.take_connected():
            self._prewarmer.connected(pair)
        for pair, puller, source in self._prewarmer.due(peers):
            self._probe.connect(pair, puller, source)
        problems = dict(self._probe.problems)
        for pair, why in problems.items():
            if self._problems.get(pair) != why:
                record(self._store, "worker", pair.puller, Event.PAIR_UNUSABLE, why)
        self._problems = problems
        if self._prewarmer.warm != self._warm:
            self._warm = self._prewarmer.warm
            if self._warm == self._prewarmer.wanted:
                record(self._store, "controller", self._name, Event.PAIRS_WARM, f"warm transport pairs: {self._warm}")
