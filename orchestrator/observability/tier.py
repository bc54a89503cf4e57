"""The metrics of one tier, looked up once per request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.observability.slo import NONE, Objective, Slo, TierGoals

if TYPE_CHECKING:
    from orchestrator.observability.metrics import Metrics


class TierMetrics:
    """Latencies of a tier and how many of its requests met their goals. `slo` holds the goals of `source`, the tier itself."""

    __slots__ = ("_all", "_judged", "_tokens", "_tpot", "_ttft", "e2e", "itl", "slo", "source", "tpot", "ttft")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.source: TierGoals | None = None
        self.slo = NONE
        self.ttft = metrics.ttft.labels(name)
        self.itl = metrics.itl.labels(name)
        self.tpot = metrics.tpot.labels(name)
        self.e2e = metrics.e2e.labels(name)
        self._judged = metrics.slo_requests.labels(name)
        self._ttft, self._tpot, self._all = (metrics.slo_attained.labels(name, str(goal)) for goal in Objective)
        self._tokens = metrics.goodput_tokens.labels(name)

    def judge(self, slo: Slo, ttft_s: float, tpot_s: float, tokens: int) -> None:
        """A request was answered in full."""
        quick, steady = ttft_s <= slo.ttft_s, tpot_s <= slo.tpot_s
        self._judged.value += 1
        self._ttft.value += quick
        self._tpot.value += steady
        if quick and steady:
            self._all.value += 1
            self._tokens.value += tokens

    def missed(self) -> None:
        """A request that was let in got no full answer, by no fault of its client."""
        self._judged.value += 1
