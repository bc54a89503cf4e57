"""Whether Ray, the controller and the worker hosts answer; ends those that hang, so that Ray starts them again."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import state as ray_state
from ray.util import list_named_actors

from orchestrator.control.controller_watch import ASK_S, ControllerWatch
from orchestrator.control.names import NAMESPACE, controller_name, host_name, worker_of
from orchestrator.control.probe import Probe
from orchestrator.core.config import Cluster
from orchestrator.state import Store, StoreError
from orchestrator.state.events import Event, flush, record
from workers.watch import Silence

log = logging.getLogger(__name__)

HEAD = ("gcs_server", "raylet")


class RayWatch:
    """Asks once a second on a thread of its own; `lost` and `report` never wait.

    A worker host that hangs while its engine serves is left alone: ending it would end the engine too, and nothing needs it
    until then. `make_controller` is called when Ray has given the controller up.
    """

    def __init__(self, cluster: Cluster, store: Store, make_controller: Callable[[], Any]) -> None:
        self._name = cluster.name
        self._store = store
        self._make_controller = make_controller
        self._patience_s = cluster.spec.faults.answer_timeout_s
        self._head = [child for child in psutil.Process().children() if child.name().startswith(HEAD)]
        self._ray = Silence()
        self._controller = ControllerWatch(self._patience_s)
        self._asked: Any = None  # a question that the controller has not answered yet
        self._hosts: dict[str, Silence] = {}
        self._told: set[str] = set()
        self._probe = Probe()
        self._status: dict[str, Any] = {}
        self._resources: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="ray-watch", daemon=True)
        self._thread.start()

    def lost(self, now_s: float) -> str | None:
        """Why Ray is lost, None while it is there."""
        for process in self._head:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return f"{process.name()} (process {process.pid}) ended"
        silent_s = self._ray.check(now_s)
        return f"it has not answered for {silent_s:.1f} s" if silent_s > self._patience_s else None

    def report(self) -> dict[str, Any]:
        """The controller's last status, and what Ray can place (`resources`)."""
        return {"controller": self._status, "resources": self._resources}

    def _run(self) -> None:
        while True:
            try:
                self._ask()
            except Exception:
                log.exception("cannot ask Ray")
            time.sleep(ASK_S)

    def _ask(self) -> None:
        actors = set(list_named_actors())
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self._resources = {key: resources.get(key, 0.0) for key in ("CPU", "GPU", "memory")}
        self._ray.heard()
        self._ask_controller()
        self._ask_hosts(actors)
        self._ray.heard()
        flush(self._store)

    def _ask_controller(self) -> None:
        try:
            actor = ray.get_actor(controller_name(self._name), namespace=NAMESPACE)
            why = self._ask_actor(actor)
        except (ValueError, ray.exceptions.ActorDiedError):
            log.warning("the controller is gone: making another")
            self._make_controller()
            self._again()
            return
        if why is None:
            return
        pid = self._controller_pid()
        log.error("controller (process %d) hangs: %s", pid, why)
        record(self._store, "controller", "main", Event.CONTROLLER_HUNG, f"process {pid}: {why}; started again")
        _end("Controller", controller_name(self._name), pid)
        self._again()

    def _again(self) -> None:
        self._asked = None
        self._controller.again()

    def _ask_actor(self, actor: Any) -> str | None:
        """Why the controller hangs. A late answer is one too, so a question stays open until it is answered."""
        if self._asked is None:
            self._asked = actor.status.remote()
        done, _ = ray.wait([self._asked], timeout=ASK_S)
        now_s = time.monotonic()
        if not done:
            return self._controller.silent(now_s, _starts(actor))
        asked, self._asked = self._asked, None
        try:
            self._status = ray.get(asked)
        except ray.exceptions.ActorDiedError:
            raise
        except ray.exceptions.RayActorError:  # its process ended before it could answer
            return self._controller.silent(now_s, _starts(actor))
        return self._controller.answered(now_s, int(self._status["turns"]))

    def _controller_pid(self) -> int:
        """As it wrote itself when it started: one that hangs may never have answered, and an earlier one's pid is no help."""
        with contextlib.suppress(StoreError):
            if written := (self._store.get("controller", "main") or {}).get("pid"):
                return int(written)
        return int(self._status.get("pid", 0))

    def _ask_hosts(self, actors: set[str]) -> None:
        names = {worker: actor for actor in actors if (worker := worker_of(self._name, actor)) is not None}
        self._hosts = {worker: silence for worker, silence in self._hosts.items() if worker in names}
        handles: dict[str, Any] = {}
        for worker, actor in names.items():
            with contextlib.suppress(ValueError):
                handles[worker] = ray.get_actor(actor, namespace=NAMESPACE)
        asked: dict[Any, str] = {handle.pid.remote(): worker for worker, handle in handles.items()}
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ASK_S) if asked else ([], [])
        now_s = time.monotonic()
        answered = {asked[reference] for reference in done}
        for worker in self._hosts.keys() & handles.keys() - answered:
            if _starts(handles[worker]):
                del self._hosts[worker]
        for worker in answered:  # one that has never answered is still being made, and so is one that Ray starts again
            self._hosts.setdefault(worker, Silence(ASK_S * 4)).heard()
            self._told.discard(worker)
        silent_s = {worker: silence.check(now_s) for worker, silence in self._hosts.items()}
        self._end_hosts({w: s for w, s in silent_s.items() if w not in answered and s > self._patience_s})

    def _end_hosts(self, hung: dict[str, float]) -> None:
        """`hung` are workers and for how long their host has been silent. An engine gets as long again to show that it serves."""
        try:
            endpoints = self._store.list("endpoint") if hung else {}
        except StoreError as error:
            log.warning("%s", error)
            return
        for worker, silent_s in hung.items():
            endpoint = endpoints.get(worker)
            if endpoint is None:
                continue
            self._probe.describe(endpoint, ASK_S)
            if worker not in self._told:
                self._told.add(worker)
                message = (
                    f"host process {endpoint['host_pid']} does not answer; it is ended when its engine does not serve"
                )
                record(self._store, "worker", worker, Event.HOST_HUNG, message)
            seen = self._probe.seen(endpoint)
            engine_silent_s = time.monotonic() - seen.asked_at if seen else silent_s - self._patience_s
            if engine_silent_s > self._patience_s:
                log.error("host of %s hangs, and its engine does not answer: ended", worker)
                here = endpoint["node"] == os.uname().nodename
                _end("WorkerHost", host_name(self._name, worker), endpoint["host_pid"] if here else 0)
                del self._hosts[worker]


def _starts(actor: Any) -> bool:
    """Whether Ray has yet to start the actor, or to start it again: the only one that knows, on whatever node it is."""
    return bool(ray_state.actors(actor._actor_id.hex()).get("State") != "ALIVE")


def _end(kind: str, actor: str, pid: int) -> None:
    """Let Ray start the actor again. A stopped process does not hear Ray: on this machine (`pid` above 0) it gets SIGKILL."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        if pid and f"ray::{kind}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            return
    with contextlib.suppress(ValueError):
        ray.kill(ray.get_actor(actor, namespace=NAMESPACE), no_restart=False)
