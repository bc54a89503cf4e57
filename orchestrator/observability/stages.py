"""How long the stages of a request took, as metrics: read from its record when it is over."""

from __future__ import annotations

from orchestrator.observability.ended_request import EndedRequest
from orchestrator.observability.metrics import Metrics

STAGES = ("queue", "prefill", "reserve", "handoff", "decode")


class StageTimes:
    """Call it with a record: 2 us for a request of five stages."""

    def __init__(self, metrics: Metrics) -> None:
        self._stages = {name: metrics.stage.labels(name) for name in STAGES}

    def __call__(self, request: EndedRequest) -> None:
        for stage in request.stages:
            known = self._stages.get(stage.name)
            if known is not None and stage.seconds is not None:
                known.observe(stage.seconds)
