"""The spans of a worker, where traces are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.observability.tracing import is_wanted
from workers.process.config import ProcessConfig

if TYPE_CHECKING:
    from workers.process.spans import WorkerSpans


def worker_spans(config: ProcessConfig) -> WorkerSpans | None:
    """None where no traces are wanted; their library is loaded only where they are."""
    endpoint = config.observability.get("otlp_endpoint")
    if not is_wanted(endpoint):
        return None
    from orchestrator.observability.spans import Spans
    from workers.process.spans import WorkerSpans

    return WorkerSpans(Spans(endpoint, "worker", config.name), config.name)
