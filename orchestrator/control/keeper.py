"""The process that holds on to Ray: `python -m orchestrator.control.keeper --config FILE`.

Ray's own processes, and this one with them, may die or be ended by Ray; the launcher starts it again, and the front doors,
which are the launcher's children, never notice. Prints {"pid", "ray_address"} when the controller is made, or
{"pid", "failed": [message, remedy]}; then pulses with what the controller says of itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.control.names import NAMESPACE, controller_name
from orchestrator.control.problem import StartError
from orchestrator.control.ray_runtime import RayRuntime, start_ray
from orchestrator.control.ray_watch import RayWatch
from orchestrator.core.config import Cluster, parse
from orchestrator.core.process_file import read_process_file
from orchestrator.core.pulse import PULSE_S, PulsePipe
from orchestrator.state import open_store

log = logging.getLogger(__name__)

LOST = 75
"""Exit code after Ray was lost (EX_TEMPFAIL)."""


@dataclass(frozen=True, slots=True)
class KeeperConfig:
    """`first` is true when the launcher has just started: a controller of the same name then belongs to somebody else or to the past."""

    cluster: dict[str, Any]
    store_url: str
    run_dir: str
    ray_directory: str
    first: bool


def serve(config: KeeperConfig, stopped: threading.Event) -> int:
    """Until `stopped` is set (0) or Ray is lost (LOST). Raises StartError if Ray or the controller does not start."""
    cluster = parse(config.cluster)
    runtime = start_ray(cluster, Path(config.ray_directory))
    _install(stopped)  # Ray installs handlers of its own when it starts
    if config.first:
        end_predecessor(cluster, config.run_dir)
    make_controller(cluster, config)
    watch = RayWatch(cluster, open_store(config.store_url, cluster.name), lambda: make_controller(cluster, config))
    _say({"pid": os.getpid(), "ray_address": runtime.address})
    pipe = PulsePipe.after_ready()
    pulses = threading.Thread(target=_pulse, args=(pipe, watch), name="pulse", daemon=True)
    pulses.start()
    while not stopped.wait(PULSE_S / 2):
        if why := watch.lost(time.monotonic()):
            log.critical("Ray is lost: %s", why)
            return LOST
    _stop(cluster, runtime)
    return 0


def make_controller(cluster: Cluster, config: KeeperConfig) -> Any:
    """The controller's actor: the one that is there, or a new one."""
    import ray

    from orchestrator.control.controller import Controller

    options = {
        "name": controller_name(cluster.name),
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_concurrency": 4,
        "num_cpus": 0,
    }
    actor = ray.remote(Controller).options(**options)
    return actor.remote(cluster.name, config.store_url, config.run_dir)


def end_predecessor(cluster: Cluster, run_dir: str) -> None:
    """A joined Ray may still run a controller of this name: ours if its launcher was killed, else somebody's."""
    import ray

    from orchestrator.control.leftovers import end_actors

    try:
        controller = ray.get_actor(controller_name(cluster.name), namespace=NAMESPACE)
    except ValueError:
        return
    try:
        status: Any = ray.get(controller.status.remote(), timeout=10)
        other = status["run_dir"]
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        other = None
    if other != run_dir:
        raise StartError(
            f"a cluster called {cluster.name!r} runs on this Ray already" + (f", from {other}" if other else ""),
            "choose another --name, or stop it with `pdctl down --run-dir`",
        )
    end_actors(cluster.name)


def _stop(cluster: Cluster, runtime: RayRuntime) -> None:
    from orchestrator.control.leftovers import end_actors

    try:
        end_actors(cluster.name)
    finally:
        runtime.stop()


def _pulse(pipe: PulsePipe, watch: RayWatch) -> None:
    while True:
        pipe.send(watch.report())
        time.sleep(PULSE_S)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _install(stopped: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())


def main() -> None:
    parser = argparse.ArgumentParser(prog="orchestrator.control.keeper", description="Hold on to Ray for a launcher.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file written by the launcher")
    config = read_process_file(KeeperConfig, parser.parse_args().config)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stopped = threading.Event()
    _install(stopped)
    try:
        code = serve(config, stopped)
    except StartError as error:
        _say({"pid": os.getpid(), "failed": [error.message, error.remedy]})
        code = 1
    # Without Ray's own farewell, which may wait for a Ray that is gone.
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
