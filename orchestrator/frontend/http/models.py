"""GET /v1/models and /v1/models/{id}: the one served model."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from typing import Any

import orjson

from orchestrator.core.quote import MOST_QUOTED_CHARS, quoted
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.fields import describe
from orchestrator.frontend.http.server import Request, Response
from orchestrator.frontend.service import ModelInfo, TokenService


class ModelsApi:
    """Lists the model; it exists since this process serves it."""

    def __init__(self, service: TokenService) -> None:
        self._service = service
        self._created_s = int(time.time())

    def list(self, _: Request) -> Response:
        return Response.json({"object": "list", "data": [self._card()]})

    def get(self, request: Request) -> Response:
        if request.parameters["id"] != self._service.model.name:
            raise _not_found(request.parameters["id"], self._service.model)
        return Response.json(self._card())

    def _card(self) -> dict[str, Any]:
        model = self._service.model
        return {
            "id": model.name,
            "object": "model",
            "created": self._created_s,
            "owned_by": "tandem",
            "max_model_len": model.max_model_len,
            "vocab_size": model.vocab_size,
        }


def check_model(body: Mapping[str, Any], model: ModelInfo) -> None:
    """Raise ApiError unless the body asks for the served model."""
    name = body.get("model")
    if name is None:
        raise ApiError(400, f"'model' is missing: send \"model\": {_quoted(model.name)}.", "missing_field", "model")
    if not isinstance(name, str):
        raise ApiError(
            400, f"'model' is {describe(name)}: send the string {_quoted(model.name)}.", "invalid_type", "model"
        )
    if name != model.name:
        raise _not_found(name, model)


def _not_found(name: str, model: ModelInfo) -> ApiError:
    near = "did you mean" if difflib.get_close_matches(name[:MOST_QUOTED_CHARS], [model.name]) else "use"
    return ApiError(404, f"There is no model {quoted(name)} here: {near} {model.name!r}.", "model_not_found", "model")


def _quoted(name: str) -> str:
    return orjson.dumps(name).decode()
