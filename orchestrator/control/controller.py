"""The controller: a Ray actor that ticks and is never on a request's path. Collect → decide → act → record."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from orchestrator.control.actions import Hosts
from orchestrator.control.decide import Decisions
from orchestrator.control.drain import DrainStep, drain_step, draining
from orchestrator.control.prewarm import Peer, Prewarmer
from orchestrator.control.probe import Probe
from orchestrator.control.process import process_config
from orchestrator.control.reconcile import CreateWorker, PoolTarget, RemoveWorker, StartHost, StopHost, reconcile
from orchestrator.core.cluster import Role
from orchestrator.core.config import Cluster, parse
from orchestrator.state import Document, open_store
from orchestrator.state.events import Event, record
from workers.host import COMMAND

log = logging.getLogger(__name__)

TICK_S = 0.25
DESCRIBE_S = 1.0


class Controller:
    """Makes the cluster what the store says is wanted.

    All that it must not forget is in the store, so a controller that Ray restarts carries on: hosts are found again by name, and what is
    alive is left alone. `command` starts an engine process (see `workers.host.COMMAND`).
    """

    def __init__(self, cluster: str, store_url: str, run_dir: str, command: Sequence[str] = COMMAND) -> None:
        self._name = cluster
        self._run_dir = run_dir
        self._store = open_store(store_url, cluster)
        self._hosts = Hosts(cluster, store_url, run_dir, command)
        self._probe = Probe()
        self._prewarmer = Prewarmer()
        self._decisions = Decisions(self._store)
        self._warm = 0
        self._ticks = 0
        self._described = 0
        self._failure = ""
        self._spec: tuple[Document, Cluster] | None = None
        self._stopping = threading.Event()
        self._record_start()
        self._thread = threading.Thread(target=self._run, name="tick", daemon=True)
        self._thread.start()

    def status(self) -> dict[str, Any]:
        """`pid`, `run_dir`, `ticks` done, `workers_described`, and `failure`, what the last tick stumbled over.

        `pairs_warm` of `pairs_wanted` transport pairs among the described workers are warm.
        """
        return {
            "pid": os.getpid(),
            "run_dir": self._run_dir,
            "ticks": self._ticks,
            "workers_described": self._described,
            "pairs_warm": self._prewarmer.warm,
            "pairs_wanted": self._prewarmer.wanted,
            "failure": self._failure,
        }

    def stop(self) -> None:
        """End every host and its engine; ticks no more. Returns when they are gone."""
        self._stopping.set()
        self._thread.join()
        self._hosts.stop_all(self._hosts.alive())

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
            try:
                record(self._store, "controller", "main", Event.TICK_FAILED, failure)
            except Exception:
                log.exception("cannot record the failure")

    def _tick(self) -> None:
        document = self._store.get("cluster", "spec")
        if document is None:
            return
        cluster = self._cluster(document)
        self._reconcile(cluster)
        self._decisions.write_missing(cluster.spec.policies)
        workers = self._store.list("worker")
        ready = {n: e for n, e in self._store.list("endpoint").items() if n in workers and e["state"] == "ready"}
        self._probe.forget(ready)
        for name, endpoint in ready.items():
            settled = self._probe.seen(endpoint) is not None and not draining(workers[name])
            self._probe.describe(endpoint, DESCRIBE_S if settled else TICK_S)
        self._drain(workers, ready)
        self._prewarm(workers, ready)
        self._decisions.tick(workers, {name: self._probe.seen(endpoint) for name, endpoint in ready.items()})

    def _cluster(self, document: Document) -> Cluster:
        if self._spec is None or self._spec[0] != document:
            self._spec = (document, parse(document))
        return self._spec[1]

    def _reconcile(self, cluster: Cluster) -> None:
        pools = {pool.name: pool for pool in cluster.spec.pools}
        targets = [PoolTarget(pool.name, str(pool.role), pool.count) for pool in pools.values()]
        for action in reconcile(targets, self._store.list("worker"), self._hosts.alive()):
            match action:
                case CreateWorker(name, pool, role, index):
                    wanted = {"name": name, "pool": pool, "role": role, "index": index, "drain": None, "drained": False}
                    self._store.update("worker", name, lambda now, wanted=wanted: now or wanted)  # type: ignore[misc]
                    record(self._store, "worker", name, Event.WORKER_CREATED, f"pool {pool}, role {role}")
                case StartHost(name, pool):
                    if self._hosts.start(name, pools[pool].resources, process_config(cluster, pools[pool])):
                        record(self._store, "worker", name, Event.HOST_STARTED)
                case RemoveWorker(name):
                    self._store.delete("worker", name)
                    record(self._store, "worker", name, Event.WORKER_REMOVED)
                case StopHost(name):
                    self._hosts.stop(name)

    def _drain(self, workers: dict[str, Document], ready: dict[str, Document]) -> None:
        now = time.time()
        for name, worker in workers.items():
            seen = self._probe.seen(ready[name]) if name in ready else None
            step = drain_step(worker, seen.occupancy if seen else None, now)
            if step is DrainStep.DRAINED and self._update_drain(name, worker, drained=True):
                seconds = now - worker["drain"]["requested_at"]
                record(self._store, "worker", name, Event.DRAINED, f"nothing left after {seconds:.1f} s")
            elif step is DrainStep.BUDGET_EXCEEDED and self._update_drain(name, worker, exceeded=True):
                budget_s = worker["drain"]["budget_s"]
                message = f"still busy after {budget_s:g} s; takes no new work and finishes what runs"
                record(self._store, "worker", name, Event.DRAIN_BUDGET_EXCEEDED, message)

    def _update_drain(self, name: str, seen: Document, *, drained: bool = False, exceeded: bool = False) -> bool:
        """Write the outcome unless the drain was changed or taken back since it was read."""
        applied = False

        def change(now: Document | None) -> Document | None:
            nonlocal applied
            applied = now is not None and now["drain"] == seen["drain"]
            if now is None or not applied:
                return now
            drain = {**now["drain"], "exceeded": True} if exceeded else now["drain"]
            return {**now, "drain": drain, "drained": now["drained"] or drained}

        self._store.update("worker", name, change)
        return applied

    def _prewarm(self, workers: dict[str, Document], ready: dict[str, Document]) -> None:
        peers = []
        for name, endpoint in ready.items():
            if (seen := self._probe.seen(endpoint)) is not None:
                metadata = seen.description.transport_metadata
                role = Role.parse(workers[name]["role"])
                peers.append(Peer(name, endpoint["incarnation"], role, endpoint["address"], metadata))
        self._described = len(peers)
        for pair in self._probe.take_connected():
            self._prewarmer.connected(pair)
        for pair, puller, source in self._prewarmer.due(peers):
            self._probe.connect(pair, puller, source)
        if self._prewarmer.warm != self._warm:
            self._warm = self._prewarmer.warm
            if self._warm == self._prewarmer.wanted:
                record(self._store, "controller", self._name, Event.PAIRS_WARM, f"warm transport pairs: {self._warm}")
