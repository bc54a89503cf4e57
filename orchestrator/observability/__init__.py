"""Metrics, logs and traces of the front door, the workers and the controller."""

from orchestrator.observability.meter import RequestMeter
from orchestrator.observability.metrics import Metrics
from orchestrator.observability.outcome import Outcome
from orchestrator.observability.phases import Phase
from orchestrator.observability.slo import Slo

__all__ = ["Metrics", "Outcome", "Phase", "RequestMeter", "Slo"]
