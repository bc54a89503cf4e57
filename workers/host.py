"""The Ray actor that owns one worker: it keeps an engine process running and says in the store where it is."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.core.config import ConfigError, Faults, parse
from orchestrator.core.config.serving import DEMO
from orchestrator.state import StoreError, open_store
from workers.demo import MODEL_DIR
from workers.endpoint import EndpointPublisher
from workers.overwrite import overwrite
from workers.supervisor import ChildProcess, describe_exit, last_lines
from workers.watch import Limits

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "workers.process")
BACKOFF_FIRST_S = 0.2
BACKOFF_LAST_S = 5.0
HEALTHY_AFTER_S = 30.0
START_TIMEOUT_S = 300.0
"""Of an engine that does not bring its own (`start_timeout_s`)."""
OWNER = "TANDEM_OWNED_BY"
"""Environment variable that marks every process of a cluster with its run directory."""


def model_directory(path: str) -> Path:
    """The directory of `spec.model.path`, where `demo` is the bundled model."""
    return MODEL_DIR if path == DEMO else Path(path)


class WorkerHost:
    """Supervises `COMMAND --config FILE` and is the only writer of `endpoint/NAME`.

    `process` is the process configuration without name, incarnation and parent, which differ per run. It holds nothing
    that may change while the worker lives: its role is in the store. Ray may restart the host at any time; it then starts
    over with a new incarnation.
    """

    def __init__(
        self,
        cluster: str,
        name: str,
        store_url: str,
        run_dir: str,
        process: dict[str, Any],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._name = name
        store = open_store(store_url, cluster)
        self._process = process
        directory = Path(run_dir)
        self._config = directory / "workers" / f"{name}.json"
        self._log_file = directory / "logs" / f"{name}.log"
        self._command = (*command, "--config", str(self._config))
        self._environment = {OWNER: run_dir}
        for path in (self._config, self._log_file):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._engine: ChildProcess | None = None
        self._ready_at: float | None = None
        self._store = store
        self._faults = Faults()
        before = store.get("endpoint", name) or {}
        ended = store.get("incarnation", name) or {}
        self._restarts = int(before.get("restarts", -1))  # counts from 0 at the first start
        self._incarnation = max(int(before.get("incarnation", 0)), int(ended.get("last", 0)))
        self._end_stale(int(before.get("pid", 0)))
        self._endpoint: dict[str, Any] = {}
        self._publisher = EndpointPublisher(store, name)
        self._supervisor = threading.Thread(target=self._supervise, name=f"host-{name}", daemon=True)
        self._supervisor.start()

    def report(self) -> dict[str, Any]:
        """The endpoint as it was last written."""
        return dict(self._endpoint)

    def pid(self) -> int:
        """Process id of this host."""
        return os.getpid()

    def stop(self, grace_s: float = 5.0) -> None:
        """End the engine (SIGTERM, SIGKILL after `grace_s`) and forget the endpoint. The host does nothing afterwards."""
        with self._lock:
            self._stopping.set()
            engine = self._engine
        if engine is not None:
            engine.terminate()
            self._supervisor.join(grace_s)
            if self._supervisor.is_alive():
                engine.kill()
        self._supervisor.join()
        self._publisher.close()

    def _supervise(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while not self._stopping.is_set():
            try:
                code = self._run_once()
            except OSError as error:
                self._publish("dead", f"cannot start {self._command[0]}: {error}")
            else:
                if self._stopping.is_set():
                    return
                self._bury(code)
            if self._ready_at is not None and time.monotonic() - self._ready_at >= HEALTHY_AFTER_S:
                backoff_s = BACKOFF_FIRST_S
            self._stopping.wait(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_LAST_S)

    def _run_once(self) -> int:
        """Start one incarnation and block until it ends; returns its exit code."""
        # Grows although the clock may go back.
        self._incarnation = max(time.time_ns(), self._incarnation + 1)
        self._restarts += 1
        self._ready_at = None
        faults = self._read_faults()
        config = {
            **self._process,
            "name": self._name,
            "incarnation": self._incarnation,
            "parent_pid": os.getpid(),
        }
        overwrite(self._config, json.dumps(config, indent=1))
        with self._lock:
            if self._stopping.is_set():
                return 0
            self._engine = ChildProcess(
                self._command,
                self._log_file,
                self._environment,
                self._on_ready,
                self._start_timeout_s(),
                Limits(faults.hung_after_s, faults.step_timeout_s),
                self._on_hung,
                on_progress=self._on_progress,
            )
            self._publish("starting", "", address="", session_address="", pid=self._engine.pid, started_at=time.time())
        return self._engine.wait()

    def _start_timeout_s(self) -> float:
        engine = self._process.get("engine", {})
        own = engine.get(engine.get("kind"))
        return float(own["start_timeout_s"]) if isinstance(own, dict) else START_TIMEOUT_S

    def _on_progress(self, text: str) -> None:
        with self._lock:
            self._publish("starting", text)

    def _on_ready(self, line: dict[str, Any]) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._ready_at = time.monotonic()
            host, ports = self._process.get("host", "127.0.0.1"), {"address": "port", "session_address": "session_port"}
            self._publish("ready", "", **{key: f"{host}:{line[port]}" for key, port in ports.items() if port in line})
        if self._restarts:
            self._publisher.event("WorkerRestarted", f"ready again as process {self._endpoint['pid']}")

    def _on_hung(self, why: str) -> None:
        # At once, and not when it has ended: a process that waits in a driver may take its time to die.
        with self._lock:
            self._publish("dead", f"hung: {why}")

    def _bury(self, code: int) -> None:
        with self._lock:
            hung = self._engine.hung if self._engine is not None else None
            self._engine = None
            how = f"hung: {hung}" if hung else f"engine process ended: {describe_exit(code)}"
            self._publish("dead", how)
        tail = "\n".join(last_lines(self._log_file))
        reason = "WorkerHung" if hung else "WorkerDied"
        self._publisher.event(reason, f"process {self._endpoint['pid']}: {how}" + (f"\n{tail}" if tail else ""))

    def _read_faults(self) -> Faults:
        """The section `faults` in force; the last one known while the store is away."""
        try:
            document = self._store.get("cluster", "spec")
            self._faults = parse(document).spec.faults if document else self._faults
        except (StoreError, ConfigError) as error:
            log.warning("%s: %s", self._name, error)
        return self._faults

    def _publish(self, state: str, message: str, **changes: Any) -> None:
        self._endpoint = {
            **self._endpoint,
            "name": self._name,
            "model": self._process.get("model_name", ""),
            "incarnation": self._incarnation,
            "node": os.uname().nodename,
            "state": state,
            "restarts": self._restarts,
            "message": message,
            "host_pid": os.getpid(),
            **changes,
        }
        self._publisher.publish(self._endpoint)

    def _end_stale(self, pid: int) -> None:
        """End the engine of a host that died before us, if `pid` really is one: process ids are used again."""
        deadline = time.monotonic() + 5.0
        while pid and str(self._config) in _command_line(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise RuntimeError(f"engine process {pid} of {self._name} does not end")
            time.sleep(0.02)


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
