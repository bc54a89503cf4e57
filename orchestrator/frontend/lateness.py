"""Refuses at once what would come later than its goals, so that the requests that are let in keep theirs."""

from __future__ import annotations

import time

from orchestrator.frontend.flight import Flight
from orchestrator.frontend.service import Cause, ServiceError, Submission
from orchestrator.routing.congestion import Congestion
from orchestrator.routing.patience import HEADROOM, Patience
from orchestrator.routing.router import Router
from pd.v1 import worker_pb2 as pb


class Lateness:
    """Follows requests to their first token, and workers in their pace. Without `refuse` it lets everything in."""

    def __init__(self, router: Router, refuse: bool) -> None:
        self._refuse = refuse
        self._patience = Patience()
        self._congestion = Congestion(router)

    def check(self, submission: Submission, queued: int) -> None:
        """Raise ServiceError if the first token, or those after it, would come too late behind `queued` others."""
        if self._refuse:
            self._check_ttft(submission)
            self._check_tpot(submission, queued)

    def arrived(self, flight: Flight) -> None:
        """A request was let in."""
        self._patience.arrived(flight.view.prompt_tokens, flight.view.arrival_s)

    def served(self, flight: Flight) -> None:
        """It got its first token."""
        self._patience.served(flight.view.prompt_tokens, time.monotonic())

    def left(self, flight: Flight) -> None:
        """It ended without one."""
        self._patience.left(flight.view.prompt_tokens)

    def heard(self, worker: str, status: pb.WorkerStatus) -> None:
        """A worker reported its load."""
        self._congestion.heard(worker, time.monotonic(), status.running, status.waiting, status.generated_tokens)

    def gone(self, worker: str) -> None:
        """The connection to a worker is lost."""
        self._congestion.gone(worker)

    def _check_ttft(self, submission: Submission) -> None:
        goal_s = submission.ttft_slo_s
        wait_s = self._patience.wait_s(len(submission.tokens))
        if goal_s is not None and wait_s > HEADROOM * goal_s:
            raise ServiceError(
                Cause.OVERLOADED,
                f"the first token would come after about {wait_s:.1f} s, and {submission.tier} promises {goal_s:g} s; "
                "try again later, or choose a tier with a longer TTFT",
                wait_s - HEADROOM * goal_s,
            )

    def _check_tpot(self, submission: Submission, queued: int) -> None:
        goal_s = submission.tpot_slo_s
        tpot_s = 0.0 if goal_s is None else self._congestion.excess_s(goal_s, queued, time.monotonic())
        if goal_s is not None and tpot_s:
            raise ServiceError(
                Cause.OVERLOADED,
                f"a token would take about {1e3 * tpot_s:.0f} ms, and {submission.tier} promises {1e3 * goal_s:g} ms; "
                "try again later, or choose a tier with a longer TPOT",
                1.0,
            )
