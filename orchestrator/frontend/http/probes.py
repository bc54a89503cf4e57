"""GET /health (this process lives), /ready (a request could be routed), /metrics."""

from __future__ import annotations

from aiohttp import web

from orchestrator.frontend.service import TokenService
from orchestrator.observability import Metrics
from orchestrator.observability.metrics import CONTENT_TYPE


class Probes:
    """What load balancers and Prometheus ask."""

    def __init__(self, service: TokenService, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        if self._service.ready:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "no worker is ready"}, status=503, headers={"Retry-After": "1"})

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
