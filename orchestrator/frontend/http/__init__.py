"""The OpenAI-compatible HTTP API."""

from orchestrator.frontend.http.app import make_app
from orchestrator.frontend.http.limits import Limits, bounds_of
from orchestrator.frontend.http.server import start_http

__all__ = ["Limits", "bounds_of", "make_app", "start_http"]
