"""Metrics of the front door and the controller, in Prometheus form."""

from orchestrator.observability.meter import RequestMeter
from orchestrator.observability.metrics import Metrics
from orchestrator.observability.outcome import Outcome

__all__ = ["Metrics", "Outcome", "RequestMeter"]
