"""Another attempt for a request whose present one is lost: how often, how soon, and when no more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.core.request import RequestState
from orchestrator.frontend.attempts import Attempts
from orchestrator.frontend.flight import Flight
from orchestrator.frontend.gates import Gates
from orchestrator.frontend.retry_budget import RetryBudget
from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.observability import Metrics
from orchestrator.observability.logs import about

log = logging.getLogger(__name__)

ATTEMPTS = 16
"""A request that failed on this many workers fails for good."""
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 1.0


def backoff_s(attempt: int) -> float:
    """Pause before attempt number `attempt`: none before the second, then twice as long each time."""
    return min(BACKOFF_FIRST_S * 2.0 ** (attempt - 3), BACKOFF_MOST_S) if attempt > 2 else 0.0


class Retries:
    """`queue` takes a request that waits again, at the head of the line; `fail` one that is given up."""

    def __init__(
        self,
        attempts: Attempts,
        gates: Gates,
        metrics: Metrics,
        queue: Callable[[Flight], None],
        fail: Callable[[Flight, ServiceError], None],
    ) -> None:
        self._attempts = attempts
        self._gates = gates
        self._metrics = metrics
        self._queue = queue
        self._fail = fail
        self._budget = RetryBudget()

    def arrived(self) -> None:
        """A request was let in, which adds to the budget."""
        self._budget.request()

    def retry(self, flight: Flight, cause: str, why: str, *at_fault: str) -> None:
        """Give up this attempt and queue the next one, from prompt and emitted tokens.

        Workers `at_fault` failed it although they live: that counts against them, and against the budget of retries.
        """
        self._metrics.retries.labels(cause).inc()
        whose = about(flight.record, at_fault[0] if at_fault else "")
        log.info("request %s attempt %d: %s", flight.request_id, flight.record.attempt, why, extra=whose)
        self._attempts.leave(flight)
        record = flight.record
        record.end_all()
        for worker in at_fault:
            self._gates.failed(worker, why)
        if at_fault and not self._budget.retry():
            self._fail(flight, ServiceError(Cause.NO_CAPACITY, f"too many requests are retried already: {why}", 1.0))
            return
        if record.attempt >= ATTEMPTS:
            self._fail(flight, ServiceError(Cause.WORKER, f"given up after {ATTEMPTS} attempts; the last one: {why}"))
            return
        record.enter(RequestState.QUEUED)
        record.attempt += 1
        record.begin("queue", detail=why)
        pause_s = backoff_s(record.attempt)
        if at_fault and pause_s:
            flight.pause = asyncio.get_running_loop().call_later(pause_s, self._resume, flight)
        else:
            self._queue(flight)

    def _resume(self, flight: Flight) -> None:
        flight.pause = None
        self._queue(flight)
