"""What the front door knows of each worker, as metrics: with the minimum that GAIE proposal 003 asks of a model server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from orchestrator.observability.labels import BoundedLabel

if TYPE_CHECKING:
    from orchestrator.observability.metrics import Metrics

STATES = ("up", "draining", "down")


class WorkerLoad(Protocol):
    """The fields of pd.v1.WorkerStatus that are published."""

    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def kv_used_blocks(self) -> int: ...
    @property
    def kv_total_blocks(self) -> int: ...
    @property
    def leased_blocks(self) -> int: ...
    @property
    def reserved_blocks(self) -> int: ...
    @property
    def step_time_s(self) -> float: ...
    @property
    def preemptions(self) -> int: ...
    @property
    def lease_expiries(self) -> int: ...
    @property
    def generated_tokens(self) -> int: ...
    @property
    def kv_pulls(self) -> int: ...
    @property
    def kv_pull_failures(self) -> int: ...


class _Worker:
    """The series of one worker."""

    __slots__ = ("counters", "gauges", "kv_ratio", "step_s", "up")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.up = metrics.worker_up.labels(name)
        self.kv_ratio = metrics.worker_kv_ratio.labels(name)
        self.step_s = metrics.worker_step.labels(name)
        self.gauges = {field: metric.labels(name) for field, metric in metrics.worker_gauges.items()}
        self.counters = {field: metric.labels(name) for field, metric in metrics.worker_counters.items()}


class WorkerMetrics:
    """Series appear with a worker's first report; the load of one that is gone reads 0."""

    def __init__(self, metrics: Metrics, limit: int) -> None:
        self._metrics = metrics
        self.label = BoundedLabel(limit)
        self._known: dict[str, _Worker] = {}

    def report(self, name: str, load: WorkerLoad) -> None:
        """Publish a worker's load: 4 us, some twenty times a second and worker."""
        worker = self._get(name)
        worker.up.value = 1
        for field, number in worker.gauges.items():
            number.value = getattr(load, field)
        for field, number in worker.counters.items():
            number.value = getattr(load, field)
        worker.kv_ratio.value = load.kv_used_blocks / load.kv_total_blocks if load.kv_total_blocks else 0.0
        worker.step_s.value = load.step_time_s

    def gone(self, name: str) -> None:
        """A worker is not connected: its last load is forgotten, its counts stay."""
        worker = self._get(name)
        worker.up.value = worker.kv_ratio.value = worker.step_s.value = 0
        for number in worker.gauges.values():
            number.value = 0

    def states(self, states: Mapping[str, str]) -> None:
        """Publish what every worker is to this front door, one of STATES; workers that are not named have left for good."""
        metric = self._metrics.worker_state
        for name in [name for name in self._known if name not in states]:
            self._forget(name)
        for name, state in states.items():
            self._get(name)
            for known in STATES:
                metric.labels(self.label(name), known).value = float(known == state)

    def hung(self, name: str) -> None:
        """Count a worker that lives and does no step."""
        self._metrics.worker_hung.labels(self.label(name)).value += 1

    def _get(self, name: str) -> _Worker:
        worker = self._known.get(name)
        if worker is None:
            worker = self._known[name] = _Worker(self._metrics, self.label(name))
        return worker

    def _forget(self, name: str) -> None:
        """A worker that was scaled away must not be scraped for ever."""
        del self._known[name]
        label, metrics = self.label(name), self._metrics
        if label != name:
            return  # shares its series
        self.label.forget(name)
        for metric in metrics.per_worker:
            metric.drop(label)
        for state in STATES:
            metrics.worker_state.drop(label, state)
