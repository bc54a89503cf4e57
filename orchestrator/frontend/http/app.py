"""The HTTP application."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.core.config.pools import default_tiers
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.generation import GenerationApi
from orchestrator.frontend.http.generations import GenerationApis
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.models import ModelsApi
from orchestrator.frontend.http.not_served import refuse_others
from orchestrator.frontend.http.probes import Probes
from orchestrator.frontend.http.server import App, Caller, Request
from orchestrator.frontend.http.tokenize import TokenizeApi
from orchestrator.frontend.served import Served
from orchestrator.frontend.service import TokenService
from orchestrator.frontend.text import TextModel
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.frontend.tiers import Tiers
from orchestrator.observability import Metrics
from orchestrator.observability.tracing import Tracing

_APIS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/tokenize": "tokenize",
    "/detokenize": "detokenize",
}


def make_app(
    service: TokenService,
    text: TextModel,
    *,
    limits: Limits,
    metrics: Metrics,
    tiers: Tiers | None = None,
    guard: Callable[[Request], Caller | None] | None = None,
    tracing: Tracing | None = None,
    grammars: GrammarGate | None = None,
    more: Sequence[Served] = (),
) -> App:
    """The OpenAI-compatible API over `service`, and over `more` models beside it.

    `tiers` are those that clients may choose. `guard` says who may call (see App and
    orchestrator.frontend.auth); without one, everybody may. `tracing` decides which requests are traced. Run it with `start_http`.
    """
    app = App()
    served = (Served(service, text, grammars), *more)
    wanted = tiers or Tiers(default_tiers())
    generation = GenerationApis(
        [GenerationApi(one.service, one.text, limits, metrics, wanted, tracing, one.grammars) for one in served]
    )
    services = [one.service for one in served]
    models, probes, tokens = ModelsApi(services), Probes(services, metrics), TokenizeApi(served, metrics)
    app.post("/v1/chat/completions", generation.chat)
    app.post("/v1/completions", generation.completions)
    app.post("/v1/responses", generation.responses)
    app.post("/tokenize", tokens.tokenize)
    app.post("/detokenize", tokens.detokenize)
    app.get("/v1/models", models.list)
    app.get("/v1/models/{id}", models.get)
    app.get("/health", probes.health)
    app.get("/healthz", probes.health)
    app.get("/ready", probes.ready)
    app.get("/metrics", probes.metrics)

    refuse_others(app, lambda code: metrics.reject("other", code))

    def on_refusal(request: Request, error: ApiError) -> None:
        metrics.reject(_APIS.get(request.path, "other"), error.code)

    app.guard = guard
    app.on_refusal = on_refusal
    return app
