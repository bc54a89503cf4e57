"""How an error counts in the metrics."""

from __future__ import annotations

from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text import GenerationCancelled
from orchestrator.observability import Outcome

_REJECTED = frozenset(
    {
        Cause.INVALID,
        Cause.DUPLICATE,
        Cause.KEY_REQUESTS,
        Cause.KEY_CONCURRENCY,
        Cause.KEY_TOKENS,
        Cause.QUEUE_FULL,
        Cause.OVERLOADED,
        Cause.NO_CAPACITY,
        Cause.SHUTTING_DOWN,
    }
)


def outcome_of(error: Exception) -> tuple[Outcome, str]:
    """The outcome and its reason."""
    if isinstance(error, GenerationCancelled):
        return Outcome.CANCELLED, "operator"
    if not isinstance(error, ServiceError):
        return Outcome.FAILED, "internal"
    return (Outcome.REJECTED if error.cause in _REJECTED else Outcome.FAILED), error.cause.value
