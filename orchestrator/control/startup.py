"""Waits until a starting cluster serves, and says what it waits for."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.control.problem import StartError
from orchestrator.control.rundir import RunDirectory
from orchestrator.core.config import Cluster
from orchestrator.state import Store
from workers.supervisor import last_lines

Say = Callable[[str], None]
POLL_S = 0.1
PLACE_S = 60.0
WARM_S = 30.0
ROUTABLE_S = 30.0
FAILED_STARTS = 2


def wait_for_workers(
    cluster: Cluster, run_dir: RunDirectory, store: Store, resources: Callable[[], Mapping[str, float]], say: Say
) -> None:
    """Until every worker is ready. Raises StartError with log lines for one that keeps dying, or that Ray cannot place.

    `resources` are what Ray has to place.
    """
    wanted = sum(pool.count for pool in cluster.spec.pools)
    started = time.monotonic()
    shown: dict[str, str] = {}
    while True:
        endpoints = store.list("endpoint")
        for name, endpoint in endpoints.items():
            seen = f"{endpoint['state']} {endpoint['message']}"
            if seen != shown.get(name):
                shown[name] = seen
                detail = endpoint["message"] or (f"process {endpoint['pid']}" if endpoint["state"] == "ready" else "")
                say(f"worker {name}: {endpoint['state']}" + (f" ({detail})" if detail else ""))
            if endpoint["state"] == "dead" and endpoint["restarts"] + 1 >= FAILED_STARTS:
                log = run_dir.logs / f"{name}.log"
                lines = last_lines(log, 10)
                for line in lines:
                    say(f"  {line}")
                words = f": {lines[-1].strip()}" if lines else ""
                raise StartError(f"worker {name} does not start ({endpoint['message']}){words}", f"see {log}")
        if sum(endpoint["state"] == "ready" for endpoint in endpoints.values()) >= wanted:
            return
        if time.monotonic() - started > PLACE_S and len(endpoints) < wanted:
            missing = sorted(store.list("worker").keys() - endpoints.keys()) or ["any worker"]
            raise StartError(
                f"Ray has not started {', '.join(missing)} in {PLACE_S:.0f} s; it has {dict(resources())}",
                "ask for less in spec.pools[].resources, or add nodes to Ray",
            )
        time.sleep(POLL_S)


def wait_for_pairs(status_of: Callable[[], Mapping[str, Any]], workers: int, say: Say) -> None:
    """Until every transport pair among `workers` workers is warm; a pair that stays cold only costs its first request time."""
    deadline = time.monotonic() + WARM_S
    told: set[str] = set()
    while True:
        status = status_of()
        for problem in status.get("pair_problems", ()):
            if problem not in told:
                told.add(problem)
                say(f"transport: {problem}")
        warm, wanted = status.get("pairs_warm", 0), status.get("pairs_wanted", 0)
        if status.get("workers_described", 0) >= workers and warm == wanted:
            say(f"transport: {warm} pairs warm")
            return
        if time.monotonic() > deadline:
            say(f"transport: only {warm} of {wanted} pairs are warm; going on")
            return
        time.sleep(POLL_S)


def wait_until_routable(http_url: str, say: Say) -> None:
    """Until the front door says that it could route a request."""
    deadline = time.monotonic() + ROUTABLE_S
    # Whoever answers on our own port is asked nothing but whether it lives: no certificate needs checking.
    unchecked = ssl._create_unverified_context()
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked)
    )
    while time.monotonic() < deadline:
        try:
            with opener.open(f"{http_url}/health", timeout=2):
                return
        except OSError as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLError):
                return  # it serves, and wants a certificate of its clients
            time.sleep(POLL_S)
    say(f"front door: {http_url}/health is not healthy yet; going on")
