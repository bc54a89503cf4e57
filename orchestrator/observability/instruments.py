"""Counters, gauges and histograms that cost a list update each; Prometheus sees them when it scrapes.

Everything here belongs to one thread: that of the event loop, which also renders. So nothing takes a lock, and an observation costs
0.2 us instead of 1.5.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString as text_of

C = TypeVar("C")


class Instrument(Collector, ABC, Generic[C]):
    """One metric: a child per combination of label values. `name` has prefix and unit, and no `_total`."""

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self.name = name
        self.text = text
        self.label_names = tuple(labels)
        self._children: dict[tuple[str, ...], C] = {}
        self.only = self._make()
        """The child of a metric without labels."""
        if not labels:
            self._children[()] = self.only
        registry.register(self)

    def labels(self, *values: str) -> C:
        """The child of these label values, which stays; keep it where it is used often."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has labels {self.label_names}, not {values}")
            child = self._children[values] = self._make()
        return child

    def drop(self, *values: str) -> None:
        """Forget the series of these label values."""
        self._children.pop(values, None)

    @property
    @abstractmethod
    def kind(self) -> str:
        """counter, gauge or histogram."""

    @abstractmethod
    def _make(self) -> C: ...

    @abstractmethod
    def _family(self) -> Metric: ...

    def describe(self) -> Iterable[Metric]:
        """Its name, so that registration finds duplicates without a scrape."""
        return [self._family()]


class Number:
    """A value that a scrape reads."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount

    def dec(self, amount: float = 1.0) -> None:
        self.value -= amount

    def set(self, value: float) -> None:
        self.value = value


class Counter(Instrument[Number]):
    """Only grows; `set` is for a total that somebody else counts, such as a worker. Its exposed name ends in `_total`."""

    kind = "counter"

    def inc(self, amount: float = 1.0) -> None:
        """Count on a counter without labels."""
        self.only.value += amount

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self.name, self.text, labels=self.label_names)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.value)
        return [family]

    def _make(self) -> Number:
        return Number()

    def _family(self) -> Metric:
        return CounterMetricFamily(self.name, self.text, labels=self.label_names)


class Gauge(Instrument[Number]):
    """Goes up and down."""

    kind = "gauge"

    def set(self, value: float) -> None:
        """Set a gauge without labels."""
        self.only.value = value

    def add(self, value: float) -> None:
        """Move a gauge without labels, up or down."""
        self.only.value += value

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self.name, self.text, labels=self.label_names)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.value)
        return [family]

    def _make(self) -> Number:
        return Number()

    def _family(self) -> Metric:
        return GaugeMetricFamily(self.name, self.text, labels=self.label_names)


class Buckets:
    """Counts by upper bound, and the sum. `counts` has one more entry than `bounds`, for all above the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram(Instrument[Buckets]):
    """A distribution over fixed bounds."""

    kind = "histogram"

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._bounds = tuple(float(bound) for bound in bounds)
        self._names = [*(str(text_of(bound)) for bound in self._bounds), "+Inf"]  # type: ignore[no-untyped-call]
        super().__init__(name, text, labels, registry)

    def observe(self, value: float) -> None:
        """Observe on a histogram without labels."""
        self.only.observe(value)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self.name, self.text, labels=self.label_names)
        for values, child in list(self._children.items()):
            cumulated, buckets = 0, []
            for bound, count in zip(self._names, child.counts, strict=True):
                cumulated += count
                buckets.append((bound, float(cumulated)))
            family.add_metric(values, buckets, child.total)
        return [family]

    def _make(self) -> Buckets:
        return Buckets(self._bounds)

    def _family(self) -> Metric:
        return HistogramMetricFamily(self.name, self.text, labels=self.label_names)
