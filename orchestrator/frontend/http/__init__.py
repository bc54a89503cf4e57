"""The OpenAI-compatible HTTP API."""

from orchestrator.frontend.http.app import make_app, start_http
from orchestrator.frontend.http.limits import Limits

__all__ = ["Limits", "make_app", "start_http"]
