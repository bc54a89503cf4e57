"""Latencies of one request, as its client sees them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.observability.outcome import Outcome

if TYPE_CHECKING:
    from orchestrator.observability.metrics import Metrics


class RequestMeter:
    """Observes TTFT at the first delta, one gap per later delta, and the rest once, at the end."""

    __slots__ = ("_active", "_api", "_arrival_s", "_first_s", "_itl", "_last_s", "_metrics", "_open", "_tier", "count")

    def __init__(self, metrics: Metrics, api: str, tier: str, prompt_tokens: int, arrival_s: float | None) -> None:
        self._metrics = metrics
        self._api = api
        self._tier = tier
        self._itl = metrics.itl.labels(tier)
        self._active = metrics.active.labels(api)
        self._arrival_s = time.perf_counter() if arrival_s is None else arrival_s
        self._first_s = self._last_s = 0.0
        self._open = True
        self.count = 0
        self._active.inc()
        metrics.prompt_tokens.inc(prompt_tokens)
        metrics.prompt_lengths.observe(prompt_tokens)

    def tokens(self, count: int) -> None:
        """`count` tokens came together."""
        if not count:
            return
        now_s = time.perf_counter()
        if self.count:
            self._itl.observe(now_s - self._last_s)
        else:
            self._first_s = now_s
            self._metrics.ttft.labels(self._tier).observe(now_s - self._arrival_s)
        self._last_s = now_s
        self.count += count

    def end(self, outcome: Outcome, reason: str, cached_tokens: int = 0) -> None:
        """Close the books; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        metrics = self._metrics
        self._active.dec()
        metrics.requests.labels(self._api, outcome.value, reason).inc()
        metrics.generation_tokens.inc(self.count)
        metrics.cached_tokens.inc(cached_tokens)
        if outcome is Outcome.COMPLETED:
            metrics.generation_lengths.observe(self.count)
            metrics.e2e.labels(self._tier).observe(time.perf_counter() - self._arrival_s)
            if self.count > 1:
                metrics.tpot.labels(self._tier).observe((self._last_s - self._first_s) / (self.count - 1))
