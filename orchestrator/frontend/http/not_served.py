"""Endpoints of other servers that clients look for here: refused with what this cluster is for."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.server import App, Request

_TEXT_ONLY = "This cluster serves text generation only"
_REASONS = {
    f"{_TEXT_ONLY}; it makes no embeddings or scores: use a server of an embedding or ranking model.": (
        *("/v1/embeddings", "/embeddings", "/embed", "/v1/score", "/score", "/v1/rerank", "/v2/rerank", "/rerank"),
        *("/pooling", "/classify", "/v1/moderations"),
    ),
    f"{_TEXT_ONLY}; it takes and makes no audio, images or video: use a server of such a model.": (
        *("/v1/audio/{rest}", "/v1/images/{rest}", "/v1/videos", "/v1/videos/{rest}", "/v1/realtime"),
    ),
    f"{_TEXT_ONLY} and stores nothing: send each request by itself.": (
        *("/v1/files", "/v1/files/{rest}", "/v1/uploads", "/v1/uploads/{rest}", "/v1/batches", "/v1/batches/{rest}"),
        *("/v1/vector_stores", "/v1/vector_stores/{rest}", "/v1/assistants", "/v1/assistants/{rest}"),
        *("/v1/threads", "/v1/threads/{rest}", "/v1/conversations", "/v1/conversations/{rest}"),
        *("/v1/fine_tuning/{rest}", "/v1/responses/{rest}", "/v1/chat/completions/{rest}"),
    ),
}
_METHODS = ("GET", "POST", "DELETE")


def refuse_others(app: App, reject: Callable[[str], None]) -> None:
    """Answer 404 with a reason on the paths that OpenAI's and vLLM's servers have and this one does not; `reject` hears the code."""
    for reason, paths in _REASONS.items():
        for path in paths:
            for method in _METHODS:
                app.add(method, path, _refusal(reason, reject))


def _refusal(reason: str, reject: Callable[[str], None]) -> Callable[[Request], None]:
    def refuse(_: Request) -> None:
        # Not 501: OpenAI's clients would try again.
        reject("unsupported_endpoint")
        raise ApiError(404, reason, "unsupported_endpoint")

    return refuse
