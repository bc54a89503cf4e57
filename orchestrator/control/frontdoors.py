"""Starts the front door processes, keeps them running, and ends them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

from orchestrator.control import die_with_parent
from orchestrator.control.problem import StartError
from orchestrator.control.rundir import RunDirectory
from orchestrator.core.config import Cluster
from orchestrator.state import Store, StoreError
from orchestrator.state.draining import mark_draining
from orchestrator.state.events import Event, flush, record
from workers.host import OWNER, model_directory
from workers.overwrite import overwrite
from workers.supervisor import ChildProcess, describe_exit, last_lines
from workers.watch import Limits

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "orchestrator.frontend")
START_TIMEOUT_S = 60.0
RESTART_PAUSE_S = 0.5
NOW_S = 2.0
POLL_S = 0.05


class FrontDoors:
    """All front door processes of a cluster. They share the ports that the first one got."""

    def __init__(self, cluster: Cluster, run_dir: RunDirectory, store: Store, store_url: str) -> None:
        self._cluster = cluster
        self._run_dir = run_dir
        self._store = store
        self._store_url = store_url
        self._stopping = threading.Event()
        self._doors = [_Door(f"front-door-{i}", run_dir, self) for i in range(cluster.spec.front_door.processes)]
        self.http_port = cluster.spec.front_door.http_port
        self.grpc_port = cluster.spec.front_door.grpc_port

    def start(self) -> None:
        """Start them one after the other; raises StartError with the last log lines if one does not serve."""
        for door in self._doors:
            door.start()
            self.http_port, self.grpc_port = door.wait_ready()

    def stop(self, grace_s: float, now: threading.Event | None = None) -> None:
        """SIGTERM to all, which lets them finish their requests; SIGKILL after `grace_s`. Returns when they are gone.

        Once `now` is set they get a second SIGTERM and NOW_S.
        """
        self._stopping.set()
        self._mark_draining()
        for door in self._doors:
            door.terminate()
        deadline = time.monotonic() + grace_s
        while self.serving() and time.monotonic() < deadline and not (now is not None and now.is_set()):
            time.sleep(POLL_S)
        if now is not None and now.is_set():
            for door in self._doors:
                door.terminate()
            deadline = min(deadline, time.monotonic() + NOW_S)
        for door in self._doors:
            door.join(max(0.0, deadline - time.monotonic()))

    def _mark_draining(self) -> None:
        """Before any is told, so that none takes another for one that stays, and closes its listener for its sake."""
        with contextlib.suppress(StoreError):
            for name in self._store.list("frontdoor"):
                mark_draining(self._store, name)

    def serving(self) -> int:
        """How many still run."""
        return sum(door.alive for door in self._doors)

    @property
    def stopping(self) -> threading.Event:
        """Set once they are to end."""
        return self._stopping

    def config(self, name: str) -> dict[str, Any]:
        """The configuration file of one process."""
        front_door = self._cluster.spec.front_door
        return {
            "id": name,
            "store_url": self._store_url,
            "run_dir": str(self._run_dir.path),
            "cluster_name": self._cluster.name,
            "model_dirs": {m.served_name: str(model_directory(m.path)) for m in self._cluster.spec.served},
            "host": front_door.host,
            "http_port": self.http_port,
            "grpc_port": self.grpc_port,
            "front_door": dataclasses.asdict(front_door),
        }

    @property
    def limits(self) -> Limits:
        """When a front door counts as hung."""
        faults = self._cluster.spec.faults
        return Limits(faults.hung_after_s, faults.step_timeout_s)

    def ended(self, name: str, pid: int, hung: str | None, how: str) -> None:
        """Take back what a front door that is gone said of itself; its successor overwrites what a store that is away keeps."""
        with contextlib.suppress(StoreError):
            self._store.delete("frontdoor", name)
        if not self._stopping.is_set():
            event = Event.FRONT_DOOR_HUNG if hung else Event.FRONT_DOOR_DIED
            record(self._store, "frontdoor", name, event, f"process {pid}: {f'hung: {hung}' if hung else how}")

    def serves(self) -> None:
        """A front door is ready again: what could not be told of its predecessor can perhaps be told now."""
        flush(self._store)


class _Door:
    """One front door process and the thread that restarts it."""

    def __init__(self, name: str, run_dir: RunDirectory, owner: FrontDoors) -> None:
        self._name = name
        self._run_dir = run_dir
        self._owner = owner
        self._process: ChildProcess | None = None
        self._first = threading.Event()
        self._ports: tuple[int, int] | None = None
        self._end = "no answer"
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)

    @property
    def _log(self) -> Path:
        return self._run_dir.logs / f"{self._name}.log"

    def start(self) -> None:
        self._thread.start()

    def wait_ready(self) -> tuple[int, int]:
        """(HTTP port, gRPC port)."""
        self._first.wait(START_TIMEOUT_S + 5)
        if self._ports is None:
            words = "".join(last_lines(self._log, 1))
            raise StartError(f"{self._name} does not serve ({self._end}): {words}", f"see {self._log}")
        return self._ports

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def join(self, grace_s: float) -> None:
        if not self._thread.is_alive():
            return
        self._thread.join(grace_s)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()

    def _supervise(self) -> None:
        while not self._owner.stopping.is_set():
            try:
                self._end = self._run_once()
            except OSError as error:  # no memory or no room for one more process; there may be later
                self._end = f"cannot be started: {error}"
                log.warning("%s %s", self._name, self._end)
            if not self._first.is_set():
                self._first.set()
                return
            self._owner.stopping.wait(RESTART_PAUSE_S)

    def _run_once(self) -> str:
        """Start one process and block until it ends; returns how it did."""
        config = self._run_dir.path / f"{self._name}.json"
        overwrite(config, json.dumps(self._owner.config(self._name), indent=1))
        self._process = ChildProcess(
            (*die_with_parent.wrapper(), *COMMAND, "--config", str(config)),
            self._log,
            {OWNER: str(self._run_dir.path)},
            self._ready,
            START_TIMEOUT_S,
            self._owner.limits,
        )
        if self._owner.stopping.is_set():
            self._process.terminate()
        how = describe_exit(self._process.wait())
        self._owner.ended(self._name, self._process.pid, self._process.hung, how)
        return how

    def _ready(self, line: dict[str, Any]) -> None:
        self._ports = (int(line["http_port"]), int(line["grpc_port"]))
        if self._first.is_set():
            self._owner.serves()
        self._first.set()
