"""Carries out on Ray what reconciliation wants: host actors and their placement groups, all named and detached."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray.util import get_placement_group, list_named_actors, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.control.names import NAMESPACE, host_name, worker_of
from orchestrator.core.config import Resources
from workers.host import WorkerHost

log = logging.getLogger(__name__)

START_AGAIN_S = 5.0
STOP_GRACE_S = 5.0


class Hosts:
    """The hosts of one cluster. Nothing here waits, except `stop_all`. `on_stopped(worker)` runs on a thread when a host is gone."""

    def __init__(
        self, cluster: str, store_url: str, run_dir: str, command: Sequence[str], on_stopped: Callable[[str], None]
    ) -> None:
        self._on_stopped = on_stopped
        self._cluster = cluster
        self._store_url = store_url
        self._run_dir = run_dir
        self._command = tuple(command)
        self._started: dict[str, float] = {}
        self._stopping: set[str] = set()
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="stop-host")

    def alive(self) -> set[str]:
        """Workers whose host exists: running, being made, or being restarted by Ray."""
        names = (worker_of(self._cluster, actor) for actor in list_named_actors())
        return {name for name in names if name is not None}

    def start(self, worker: str, resources: Resources, process: dict[str, Any]) -> bool:
        """Make the host of `worker` unless it exists; False if one is ending, or if that was tried less than START_AGAIN_S ago."""
        now = time.monotonic()
        if worker in self._stopping or now - self._started.get(worker, -START_AGAIN_S) < START_AGAIN_S:
            return False
        self._started[worker] = now
        name = host_name(self._cluster, worker)
        # Ray refuses an empty bundle; a thousandth of a core keeps the rule "one placement group per worker".
        bundle = {"CPU": max(resources.cpus, 0.001), "GPU": resources.gpus, "memory": resources.memory_bytes or 0}
        try:
            group = get_placement_group(name)
        except ValueError:
            wanted = {key: amount for key, amount in bundle.items() if amount}
            group = placement_group([wanted], strategy="PACK", name=name, lifetime="detached")
        actor = ray.remote(WorkerHost).options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_concurrency=4,
            num_cpus=bundle["CPU"],
            num_gpus=resources.gpus,
            memory=resources.memory_bytes,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0),
        )
        actor.remote(self._cluster, worker, self._store_url, self._run_dir, process, self._command)
        return True

    def stop(self, worker: str) -> bool:
        """End a host, its engine and its placement group, in the background; False if that goes on already."""
        if worker in self._stopping:
            return False
        self._stopping.add(worker)
        self._pool.submit(self._stop, worker)
        return True

    def stop_all(self, workers: Iterable[str]) -> None:
        """End these hosts and wait until they are gone."""
        list(self._pool.map(self._stop, workers))

    def _stop(self, worker: str) -> None:
        name = host_name(self._cluster, worker)
        try:
            actor = ray.get_actor(name, namespace=NAMESPACE)
            try:
                ray.get(actor.stop.remote(STOP_GRACE_S), timeout=STOP_GRACE_S * 2)
            except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
                log.warning("host %s did not stop by itself: %s", worker, error)
            ray.kill(actor, no_restart=True)
        except ValueError:
            log.info("host %s is gone already", worker)
        finally:
            with contextlib.suppress(ValueError):
                remove_placement_group(get_placement_group(name))
            try:
                self._on_stopped(worker)
            except Exception:
                log.exception("after the end of %s", name)
            # Only now may a new host of this name begin: it must not be taken for the old one.
            self._started.pop(worker, None)
            self._stopping.discard(worker)
