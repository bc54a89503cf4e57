"""GET /v1/models and /v1/models/{id}, and which model a request asks for."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from orchestrator.core.quote import MOST_QUOTED_CHARS, quoted
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.fields import describe
from orchestrator.frontend.http.server import Request, Response
from orchestrator.frontend.service import TokenService


class ModelsApi:
    """Lists the models; they exist since this process serves them."""

    def __init__(self, services: Iterable[TokenService]) -> None:
        self._services = {service.model.name: service for service in services}
        self._created_s = int(time.time())

    def list(self, _: Request) -> Response:
        return Response.json({"object": "list", "data": [self._card(name) for name in self._services]})

    def get(self, request: Request) -> Response:
        name = request.parameters["id"]
        if name not in self._services:
            raise _not_found(name, tuple(self._services))
        return Response.json(self._card(name))

    def _card(self, name: str) -> dict[str, Any]:
        model = self._services[name].model
        return {
            "id": model.name,
            "object": "model",
            "created": self._created_s,
            "owned_by": "tandem",
            "max_model_len": model.max_model_len,
            "vocab_size": model.vocab_size,
        }


def chosen_model(body: Mapping[str, Any], names: Sequence[str]) -> str:
    """The model that the body asks for; raises ApiError unless it is one of `names`, which are served."""
    name = body.get("model")
    if name is None:
        raise ApiError(400, f"'model' is missing: send \"model\": {_quoted(names[0])}.", "missing_field", "model")
    if not isinstance(name, str):
        raise ApiError(
            400, f"'model' is {describe(name)}: send the string {_quoted(names[0])}.", "invalid_type", "model"
        )
    if name not in names:
        raise _not_found(name, names)
    return name


def _not_found(name: str, names: Sequence[str]) -> ApiError:
    near = difflib.get_close_matches(name[:MOST_QUOTED_CHARS], names, 1)
    use = f"did you mean {near[0]!r}?" if near else f"use {', '.join(map(repr, names))}."
    return ApiError(404, f"There is no model {quoted(name)} here: {use}", "model_not_found", "model")


def _quoted(name: str) -> str:
    return orjson.dumps(name).decode()
