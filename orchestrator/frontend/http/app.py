"""The HTTP application."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from orchestrator.frontend.http.api_keys import ApiKeys
from orchestrator.frontend.http.generation import GenerationApi
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.middleware import add_request_id, envelope
from orchestrator.frontend.http.models import ModelsApi
from orchestrator.frontend.http.probes import Probes
from orchestrator.frontend.service import TokenService
from orchestrator.frontend.text import TextModel
from orchestrator.observability import Metrics

_SHUTDOWN_S = 5.0


def make_app(
    service: TokenService,
    text: TextModel,
    *,
    limits: Limits,
    metrics: Metrics,
    api_keys: frozenset[str] = frozenset(),
    tiers: Mapping[str, object] | None = None,
) -> web.Application:
    """The OpenAI-compatible API over `service`.

    `tiers` holds the names that clients may choose besides `limits.default_tier`. With `api_keys`, everything under /v1/ needs one
    of them. Run it with `start_http`, which cancels a handler when its client goes away.
    """
    app = web.Application(client_max_size=limits.max_body_bytes, middlewares=[envelope(ApiKeys(api_keys))])
    app.on_response_prepare.append(add_request_id)
    generation = GenerationApi(service, text, limits, metrics, tiers or {})
    models, probes = ModelsApi(service), Probes(service, metrics)
    app.router.add_post("/v1/chat/completions", generation.chat)
    app.router.add_post("/v1/completions", generation.completions)
    app.router.add_get("/v1/models", models.list)
    app.router.add_get("/v1/models/{id:.+}", models.get)
    app.router.add_get("/health", probes.health)
    app.router.add_get("/ready", probes.ready)
    app.router.add_get("/metrics", probes.metrics)
    return app


async def start_http(
    app: web.Application, host: str, port: int, *, reuse_port: bool = False
) -> tuple[web.AppRunner, int]:
    """Serve `app`; returns the runner (`cleanup` ends it) and the port, which is a free one where `port` is 0.

    Raises OSError if the address cannot be had. With `reuse_port` several processes share a port.
    """
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_port=reuse_port or None).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])
