"""Whether a request that arrives would come later than its goals, so that it is refused at once and those let in keep theirs."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.request import RequestView
from orchestrator.routing.congestion import Congestion
from orchestrator.routing.margin import Margin
from orchestrator.routing.patience import Patience
from orchestrator.routing.router import Report, Router

PAUSE_S = 1.0
"""After how long a request is worth another try that decode workers were too slow for."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """Why a request is refused; `retry_after_s` is when to try again."""

    forecast: str
    promise: str
    remedy: str
    retry_after_s: float

    def why(self, tier: str) -> str:
        """One line for the client."""
        return f"{self.forecast}, and {tier} promises {self.promise}; try again later, or {self.remedy}"


class Lateness:
    """Follows requests to their first token, and workers in their pace. Without `refuse` it lets everything in.

    Times are those of one monotonic clock, handed in: a front door's, or that of a simulation.
    """

    def __init__(self, router: Router, refuse: bool) -> None:
        self.refuses = refuse
        self._patience = Patience()
        self._margin = Margin()
        self._congestion = Congestion(router)

    def check(
        self, prompt_tokens: int, ttft_slo_s: float | None, tpot_slo_s: float | None, queued: int, now_s: float
    ) -> TooLate | None:
        """None where first token and pace keep these goals behind `queued` others, or where there are none."""
        if not self.refuses:
            return None
        if ttft_slo_s is not None:
            wait_s, bearable_s = self._patience.wait_s(prompt_tokens), self._margin.share * ttft_slo_s
            if wait_s > bearable_s:
                return TooLate(
                    f"the first token would come after about {wait_s:.1f} s",
                    f"{ttft_slo_s:g} s",
                    "choose a tier with a longer TTFT",
                    wait_s - bearable_s,
                )
        tpot_s = 0.0 if tpot_slo_s is None else self._congestion.excess_s(tpot_slo_s, queued, now_s)
        if tpot_slo_s is not None and tpot_s:
            return TooLate(
                f"a token would take about {1e3 * tpot_s:.0f} ms",
                f"{1e3 * tpot_slo_s:g} ms",
                "choose a tier with a longer TPOT",
                PAUSE_S,
            )
        return None

    def arrived(self, request: RequestView) -> None:
        """A request was let in."""
        self._patience.arrived(request.prompt_tokens, request.arrival_s)

    def served(self, request: RequestView, now_s: float) -> None:
        """It got its first token."""
        self._patience.served(request.prompt_tokens, now_s)
        if request.ttft_slo_s is not None:
            self._margin.answered(now_s - request.arrival_s, request.ttft_slo_s)

    def left(self, request: RequestView) -> None:
        """It ended without one."""
        self._patience.left(request.prompt_tokens)

    def answered(self, request: RequestView, first_s: float, last_s: float, tokens: int) -> None:
        """It has been answered in full: first and last of its `tokens` came at these times."""
        if request.tpot_slo_s is not None and tokens > 1:
            self._congestion.margin.answered((last_s - first_s) / (tokens - 1), request.tpot_slo_s)

    def heard(self, worker: str, report: Report, now_s: float) -> None:
        """A worker reported its load. To be called before the ledger of that worker changes."""
        self._congestion.heard(worker, now_s, report.running, report.waiting, report.generated_tokens)

    def gone(self, worker: str) -> None:
        """The connection to a worker is lost."""
        self._congestion.gone(worker)
