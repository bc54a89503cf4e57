"""The OpenAI-compatible HTTP API."""

from orchestrator.frontend.http.app import make_app
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.server import start_http

__all__ = ["Limits", "make_app", "start_http"]
