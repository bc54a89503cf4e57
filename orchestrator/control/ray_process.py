"""Keeps the process that holds on to Ray running: notices within a second when Ray is lost, and brings it back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.control import die_with_parent
from orchestrator.control.marks import RAY_RUN, end_marked
from orchestrator.control.problem import StartError
from orchestrator.control.rundir import RunDirectory
from orchestrator.core.config import Cluster, dump
from orchestrator.state import Store, StoreError
from orchestrator.state.events import Event, record
from workers.host import OWNER
from workers.overwrite import overwrite
from workers.supervisor import ChildProcess, describe_exit, last_lines
from workers.watch import Limits

COMMAND = (sys.executable, "-m", "orchestrator.control.keeper")
START_TIMEOUT_S = 300.0
STOP_S = 45.0
PAUSE_FIRST_S = 0.5
PAUSE_LAST_S = 5.0
SILENT_S = 15.0
"""The keeper pulses on a thread of its own; Ray may hold its interpreter for seconds."""


class RayProcess:
    """Ray as one thing that runs until `stop`, over several runs of the keeper.

    With a Ray of our own a run that ends takes all that it started along, engines too: what is left of it is killed before
    the next one starts, so that no worker has two hosts. On a joined Ray controller and hosts live on and are found again.
    """

    def __init__(
        self,
        cluster: Cluster,
        run_dir: RunDirectory,
        store: Store,
        store_url: str,
        say: Callable[[str], None],
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster, self._run_dir, self._store, self._store_url = cluster, run_dir, store, store_url
        self._say = say
        self._on_back = on_back
        self._local = cluster.spec.ray.address == "local"
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: ChildProcess | None = None
        self._run = 0
        self._answered = threading.Event()
        self._served = False
        self._answer: dict[str, Any] = {}
        self._lost_s: float | None = None
        self.address = ""
        self.directory: Path | None = None
        """The private Ray's own directory, None when it was joined."""
        self._pulse: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._supervise, name="ray", daemon=True)

    @property
    def log(self) -> Path:
        """Where Ray's keeper writes."""
        return self._run_dir.logs / "ray.log"

    def start(self) -> None:
        """Begin; `wait_ready` tells the outcome."""
        self._thread.start()

    def wait_ready(self) -> None:
        """Until the controller is made; raises StartError if the first run fails."""
        self._answered.wait()
        if "failed" in self._answer:
            raise StartError(*self._answer["failed"])

    def status(self) -> dict[str, Any]:
        """What the controller last said of itself; empty until it has."""
        status: dict[str, Any] = self._pulse.get("controller", {})
        return status

    def resources(self) -> dict[str, float]:
        """What Ray has to place."""
        resources: dict[str, float] = self._pulse.get("resources", {})
        return resources

    def stop(self) -> None:
        """End controller, hosts and engines in order, then Ray if it is ours. Returns when they are gone."""
        with self._lock:
            self._stopping.set()
            if self._process is not None:
                self._process.terminate()
        if not self._thread.is_alive():
            return
        self._thread.join(STOP_S)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()

    def _supervise(self) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._stopping.is_set():
            self._served = False
            try:
                how = self._run_once()
            except OSError as error:
                how = f"its keeper cannot be started: {error}"
            if not self._answered.is_set():
                words = "".join(last_lines(self.log, 1))
                self._answer = {"failed": [f"Ray does not start ({how}): {words}", f"see {self.log}"]}
                self._answered.set()
            if "failed" in self._answer and self._run == 1:
                return
            if self._stopping.is_set():
                return
            self._tell_lost(how)
            pause_s = PAUSE_FIRST_S if self._served else min(pause_s * 2, PAUSE_LAST_S)
            self._stopping.wait(pause_s)

    def _run_once(self) -> str:
        """One run of the keeper; returns how it ended."""
        self._run += 1
        mark = f"{os.getpid()}-{self._run}"
        # A short path: Unix sockets below it may have 107 characters.
        directory = Path(tempfile.mkdtemp(prefix="tandem-", dir="/tmp"))
        self.directory = directory if self._local else None
        config = {
            "cluster": dump(self._cluster),
            "store_url": self._store_url,
            "run_dir": str(self._run_dir.path),
            "ray_directory": str(directory),
            "first": self._run == 1,
        }
        path = self._run_dir.path / "ray.json"
        try:
            overwrite(path, json.dumps(config, indent=1))
            with self._lock:
                if self._stopping.is_set():
                    return "not started"
                self._process = ChildProcess(
                    (*die_with_parent.wrapper(), *COMMAND, "--config", str(path)),
                    self.log,
                    {OWNER: str(self._run_dir.path), RAY_RUN: mark},
                    self._on_answer,
                    START_TIMEOUT_S,
                    Limits(SILENT_S, float("inf")),
                    on_pulse=self._on_pulse,
                )
            code = self._process.wait()
            hung = self._process.hung
            return f"its keeper hung: {hung}" if hung else self._last_words() or f"its keeper: {describe_exit(code)}"
        finally:
            if self._local:
                end_marked(RAY_RUN, mark)
            shutil.rmtree(directory, ignore_errors=True)

    def _on_answer(self, line: dict[str, Any]) -> None:
        first = not self._answered.is_set()
        if "failed" in line:
            if first:
                self._answer = line
            else:
                self._say(f"ray: {line['failed'][0]}")
            self._answered.set()
            return
        self.address, self._served = line["ray_address"], True
        self._answered.set()
        if self._lost_s is not None:
            message = f"back after {time.monotonic() - self._lost_s:.1f} s"
            self._lost_s = None
            self._say(f"ray: {message}")
            record(self._store, "controller", "main", Event.RAY_BACK, message)
            self._on_back()

    def _on_pulse(self, pulse: dict[str, Any]) -> None:
        self._pulse = pulse

    def _tell_lost(self, how: str) -> None:
        if self._lost_s is None:
            self._lost_s = time.monotonic()
            what = "workers are lost with it; starting both again" if self._local else "joining it again"
            self._say(f"ray: lost ({how}); {what}")
            record(self._store, "controller", "main", Event.RAY_LOST, f"{how}; {what}")
            if self._local:
                self._bury_workers()

    def _bury_workers(self) -> None:
        """Say of every worker what its host cannot say any more."""
        with contextlib.suppress(StoreError):
            for name in self._store.list("endpoint"):
                self._store.update(
                    "endpoint", name, lambda now: now and {**now, "state": "dead", "message": "Ray was lost"}
                )

    def _last_words(self) -> str:
        words = [line.partition("Ray is lost: ")[2] for line in last_lines(self.log, 20) if "Ray is lost: " in line]
        return words[-1] if words else ""
