"""GET /health and /healthz (this process lives), /ready (a request could be routed), /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.frontend.http.server import Request, Response
from orchestrator.frontend.service import TokenService
from orchestrator.observability import Metrics
from orchestrator.observability.metrics import CONTENT_TYPE


class Probes:
    """What load balancers and Prometheus ask."""

    def __init__(self, services: Sequence[TokenService], metrics: Metrics) -> None:
        self._services = services
        self._metrics = metrics

    def health(self, _: Request) -> Response:
        return Response.json({"status": "ok"})

    def ready(self, _: Request) -> Response:
        if any(service.ready for service in self._services):
            return Response.json({"status": "ready"})
        return Response.json(
            {"status": "no worker is ready, or this front door is shutting down"}, 503, {"Retry-After": "1"}
        )

    def metrics(self, _: Request) -> Response:
        self._metrics.tasks.set(len(asyncio.all_tasks()))
        return Response(self._metrics.render(), content_type=CONTENT_TYPE)
