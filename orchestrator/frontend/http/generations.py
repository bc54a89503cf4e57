"""Endpoints that generate text, with the model that the body asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from time import perf_counter

from orchestrator.frontend.http.body import read_object
from orchestrator.frontend.http.endpoint import CHAT, COMPLETIONS, RESPONSES, Endpoint
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.generation import GenerationApi
from orchestrator.frontend.http.models import chosen_model
from orchestrator.frontend.http.server import Request
from orchestrator.frontend.text import InvalidRequest


class GenerationApis:
    """One GenerationApi for each model."""

    def __init__(self, apis: Sequence[GenerationApi]) -> None:
        self._apis = {api.model: api for api in apis}
        self._names = tuple(self._apis)

    def chat(self, request: Request) -> Awaitable[None] | None:
        """POST /v1/chat/completions."""
        return self._generate(request, CHAT)

    def completions(self, request: Request) -> Awaitable[None] | None:
        """POST /v1/completions."""
        return self._generate(request, COMPLETIONS)

    def responses(self, request: Request) -> Awaitable[None] | None:
        """POST /v1/responses."""
        return self._generate(request, RESPONSES)

    def _generate(self, request: Request, endpoint: Endpoint) -> Awaitable[None] | None:
        begun_s = perf_counter()
        try:
            body = read_object(request)
            api = self._apis[chosen_model(body, self._names)]
        except (InvalidRequest, ApiError) as error:
            raise self._apis[self._names[0]].refused(endpoint, error) from None
        return api.generate(request, endpoint, body, begun_s)
