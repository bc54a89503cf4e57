"""The metrics that Tandem publishes: prefix `pd_`, base units, bounded labels, never a request id."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from orchestrator.observability.instruments import Counter, Gauge, Histogram
from orchestrator.observability.labels import BoundedLabel
from orchestrator.observability.meter import RequestMeter
from orchestrator.observability.phases import Phase
from orchestrator.observability.slo import Slo, TierGoals, slo_of
from orchestrator.observability.tier import TierMetrics
from orchestrator.observability.workers import WorkerLoad, WorkerMetrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_FIRST_TOKEN_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 60.0)
_BETWEEN_TOKENS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4, 0.8, 2.0, 5.0)
_REQUEST_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 600.0)
_STAGE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 40.0, 160.0)
_DECISION_S = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
_OVERHEAD_S = (0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1)
_TRANSFER_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)
_TOKENS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072)


class Metrics:
    """All metrics of one process, in a registry of its own. Use it from the event loop only.

    Counters and histograms are attributes without their prefix; the owner of a fact updates it. `limit` bounds every label whose
    values come from outside (workers, tiers). `tiers` holds the goals of each tier, and may change; a tier that it does not name
    has none.
    """

    def __init__(self, limit: int = 1000, tiers: Mapping[str, TierGoals] | None = None) -> None:
        self.registry = CollectorRegistry()
        self._goals = tiers if tiers is not None else {}
        self._tier_label = BoundedLabel(limit)
        self._tiers: dict[str, TierMetrics] = {}

        self.requests = self._counter("requests", "requests by API and how they ended", "api", "outcome", "reason")
        self.active = self._gauge("active_requests", "requests in progress", "api")
        self.admission = self._counter("admission", "requests let in or refused, and why", "decision", "reason")
        self.auth_refused = self._counter("auth_refused", "calls refused by API key, role or its limits", "reason")
        self.ttft = self._histogram("ttft_seconds", "arrival to first token", _FIRST_TOKEN_S, "tier")
        self.itl = self._histogram("inter_token_latency_seconds", "gap between token deltas", _BETWEEN_TOKENS_S, "tier")
        self.tpot = self._histogram("tpot_seconds", "mean time per token after the first", _BETWEEN_TOKENS_S, "tier")
        self.e2e = self._histogram("e2e_seconds", "arrival to last token", _REQUEST_S, "tier")
        self.slo_requests = self._counter("slo_requests", "requests answered or failed: the base of attainment", "tier")
        self.slo_attained = self._counter("slo_attained", "requests that met a goal; all: goodput", "tier", "objective")
        self.goodput_tokens = self._counter("goodput_tokens", "tokens of requests that met all their goals", "tier")
        self.prompt_lengths = self._histogram("request_prompt_tokens", "prompt length in tokens", _TOKENS)
        self.generation_lengths = self._histogram("request_generation_tokens", "output length in tokens", _TOKENS)
        self.prompt_tokens = self._counter("prompt_tokens", "prompt tokens of accepted requests")
        self.cached_tokens = self._counter("cached_prompt_tokens", "prompt tokens found in a prefix cache")
        self.generation_tokens = self._counter("generation_tokens", "tokens generated")

        self.queue = self._histogram("queue_seconds", "wait for dispatch of each attempt", _REQUEST_S)
        self.queue_depth = self._gauge("queued_requests", "requests that wait for dispatch")
        self.tasks = self._gauge("frontdoor_tasks", "asyncio tasks of this process")
        self.decision = self._histogram("router_decision_seconds", "time a decision took", _DECISION_S, "decision")
        overhead = self._histogram("router_overhead_seconds", "time in the front door, by phase", _OVERHEAD_S, "phase")
        self.overhead = {phase: overhead.labels(str(phase)) for phase in Phase}
        self.stage = self._histogram("stage_seconds", "time of one stage of one attempt", _STAGE_S, "stage")
        self.attempts = self._counter("attempts", "attempts started, the first of each request included")
        self.retries = self._counter("retries", "attempts after the first, by what ended the one before", "cause")

        self.transfer_bytes = self._counter("transfer_bytes", "KV bytes moved between workers", "worker")
        self.transfer = self._histogram("transfer_seconds", "time of one KV transfer", _TRANSFER_S)
        self.transfer_failures = self._counter("transfer_failures", "KV transfers that failed", "cause")

        self.worker_up = self._gauge("worker_up", "1 while the worker is connected", "worker")
        self.worker_state = self._gauge("worker_state", "1 for the state that the worker is in", "worker", "state")
        self.breaker = self._gauge("worker_breaker_state", "0 closed, 1 half-open, 2 open", "worker")
        self.worker_hung = self._counter("worker_hung", "times it lived and did no step", "worker")
        self.worker_kv_ratio = self._gauge("worker_kv_usage_ratio", "share of KV blocks in use", "worker")
        self.worker_step = self._gauge("worker_step_seconds", "recent time of an engine step", "worker")
        self.worker_gauges = {
            field: self._gauge(f"worker_{name}", text, "worker")
            for field, name, text in (
                ("running", "running_requests", "requests in the batch"),
                ("waiting", "waiting_requests", "requests that wait on the worker"),
                ("kv_used_blocks", "kv_used_blocks", "KV blocks in use, leased ones included"),
                ("kv_total_blocks", "kv_total_blocks", "KV blocks there are"),
                ("leased_blocks", "kv_leased_blocks", "KV blocks that wait to be pulled"),
                ("reserved_blocks", "kv_reserved_blocks", "KV blocks that wait for a pull"),
            )
        }
        self.worker_counters = {
            field: self._counter(f"worker_{name}", text, "worker")
            for field, name, text in (
                ("generated_tokens", "generated_tokens", "tokens generated since the worker started"),
                ("preemptions", "preemptions", "requests put back for want of KV blocks"),
                ("lease_expiries", "kv_lease_expiries", "leases and reservations that ran out"),
                ("kv_pulls", "kv_pulls", "KV transfers into this worker"),
                ("kv_pull_failures", "kv_pull_failures", "KV transfers into this worker that failed"),
            )
        }
        self.per_worker: tuple[Gauge | Counter, ...] = (
            *(self.worker_up, self.worker_kv_ratio, self.worker_step, self.worker_hung, self.breaker),
            *self.worker_gauges.values(),
            *self.worker_counters.values(),
        )
        self.workers = WorkerMetrics(self, limit)

    def start(
        self,
        api: str,
        tier: str,
        prompt_tokens: int,
        arrival_s: float | None = None,
        ttft_slo_s: float | None = None,
        tpot_slo_s: float | None = None,
    ) -> RequestMeter:
        """Begin to measure an accepted request that arrived at `arrival_s` on `time.perf_counter`; now, where absent.

        Goals are the tier's where the request brings none.
        """
        known = self._tier(tier)
        slo = known.slo
        if ttft_slo_s is not None or tpot_slo_s is not None:
            slo = Slo(ttft_slo_s or slo.ttft_s, tpot_slo_s or slo.tpot_s)
        self.active.labels(api).value += 1
        self.prompt_tokens.inc(prompt_tokens)
        self.prompt_lengths.observe(prompt_tokens)
        return RequestMeter(self, api, known, slo, arrival_s)

    def reject(self, api: str, reason: str) -> None:
        """Count a request that was refused before it reached the token service."""
        self.requests.labels(api, "rejected", reason).value += 1
        self.admission.labels("rejected", reason).value += 1

    def worker(self, name: str, load: WorkerLoad) -> None:
        """Publish a worker's load."""
        self.workers.report(name, load)

    def worker_gone(self, name: str) -> None:
        """Publish that a worker is not connected."""
        self.workers.gone(name)

    def worker_label(self, name: str) -> str:
        """The label value of a worker."""
        return self.workers.label(name)

    def render(self) -> bytes:
        """The registry in Prometheus text form; its content type is CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _tier(self, name: str) -> TierMetrics:
        known = self._tiers.get(name)
        if known is None:
            label = self._tier_label(name)
            known = TierMetrics(self, label)
            if label == name:
                self._tiers[name] = known
        goals = self._goals.get(name)
        if goals is not known.source:
            known.source, known.slo = goals, slo_of(goals)
        return known

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"pd_{name}", text, labels, self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pd_{name}", text, labels, self.registry)

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"pd_{name}", text, bounds, labels, self.registry)
