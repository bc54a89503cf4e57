"""The metrics that Tandem publishes: prefix `pd_`, base units, bounded labels, never a request id."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from orchestrator.observability.labels import BoundedLabel
from orchestrator.observability.meter import RequestMeter

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_FIRST_TOKEN_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 60.0)
_BETWEEN_TOKENS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4, 0.8, 2.0, 5.0)
_REQUEST_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 600.0)
_DECISION_S = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
_TRANSFER_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)
_TOKENS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072)


class Metrics:
    """All metrics of one process, in a registry of its own.

    Counters and histograms are attributes without their prefix; the owner of a fact updates it. `limit` bounds every label
    whose values come from outside (workers, tiers).
    """

    def __init__(self, limit: int = 1000) -> None:
        self.registry = CollectorRegistry()
        self.worker_label = BoundedLabel(limit)
        self.tier_label = BoundedLabel(limit)

        self.requests = self._counter("requests", "requests by API and how they ended", "api", "outcome", "reason")
        self.active = self._gauge("active_requests", "requests in progress", "api")
        self.ttft = self._histogram("ttft_seconds", "arrival to first token", _FIRST_TOKEN_S, "tier")
        self.itl = self._histogram("inter_token_latency_seconds", "gap between token deltas", _BETWEEN_TOKENS_S, "tier")
        self.tpot = self._histogram("tpot_seconds", "mean time per token after the first", _BETWEEN_TOKENS_S, "tier")
        self.e2e = self._histogram("e2e_seconds", "arrival to last token", _REQUEST_S, "tier")
        self.prompt_lengths = self._histogram("request_prompt_tokens", "prompt length in tokens", _TOKENS)
        self.generation_lengths = self._histogram("request_generation_tokens", "output length in tokens", _TOKENS)
        self.prompt_tokens = self._counter("prompt_tokens", "prompt tokens of accepted requests")
        self.cached_tokens = self._counter("cached_prompt_tokens", "prompt tokens found in a prefix cache")
        self.generation_tokens = self._counter("generation_tokens", "tokens generated")

        self.queue = self._histogram("queue_seconds", "arrival to dispatch", _REQUEST_S)
        self.queue_depth = self._gauge("queued_requests", "requests that wait for dispatch")
        self.decision = self._histogram("router_decision_seconds", "time a decision took", _DECISION_S, "decision")
        self.attempts = self._counter("attempts", "attempts started, the first of each request included")
        self.retries = self._counter("retries", "attempts after the first, by what ended the one before", "cause")

        self.transfer_bytes = self._counter("transfer_bytes", "KV bytes moved between workers", "worker")
        self.transfer = self._histogram("transfer_seconds", "time of one KV transfer", _TRANSFER_S)
        self.transfer_failures = self._counter("transfer_failures", "KV transfers that failed", "cause")

        self.worker_running = self._gauge("worker_running_requests", "requests in the batch", "worker")
        self.worker_waiting = self._gauge("worker_waiting_requests", "requests that wait on the worker", "worker")
        self.worker_kv_used = self._gauge("worker_kv_used_blocks", "KV blocks in use, leased ones included", "worker")
        self.worker_kv_total = self._gauge("worker_kv_total_blocks", "KV blocks there are", "worker")
        self.worker_up = self._gauge("worker_up", "1 while the worker is connected", "worker")

    def start(self, api: str, tier: str, prompt_tokens: int, arrival_s: float | None = None) -> RequestMeter:
        """Begin to measure an accepted request that arrived at `arrival_s` on `time.perf_counter`; now, where absent."""
        return RequestMeter(self, api, self.tier_label(tier), prompt_tokens, arrival_s)

    def reject(self, api: str, reason: str) -> None:
        """Count a request that was refused before it reached the token service."""
        self.requests.labels(api, "rejected", reason).inc()

    def worker(self, name: str, running: int, waiting: int, kv_used_blocks: int, kv_total_blocks: int) -> None:
        """Publish a worker's load."""
        name = self.worker_label(name)
        self.worker_up.labels(name).set(1)
        self.worker_running.labels(name).set(running)
        self.worker_waiting.labels(name).set(waiting)
        self.worker_kv_used.labels(name).set(kv_used_blocks)
        self.worker_kv_total.labels(name).set(kv_total_blocks)

    def worker_gone(self, name: str) -> None:
        """Publish that a worker is not connected; its last load is forgotten."""
        self.worker(name, 0, 0, 0, 0)
        self.worker_up.labels(self.worker_label(name)).set(0)

    def render(self) -> bytes:
        """The registry in Prometheus text form; its content type is CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"pd_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pd_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"pd_{name}", text, labels, buckets=buckets, registry=self.registry)
