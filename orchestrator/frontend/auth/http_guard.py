"""The gate at the HTTP door: `app.guard`."""

from __future__ import annotations

from typing import Protocol

from orchestrator.frontend.auth.caller import ANYBODY, Caller
from orchestrator.frontend.auth.denied import Denied
from orchestrator.frontend.auth.gate import Gate
from orchestrator.frontend.auth.rules import http_counted, http_role
from orchestrator.frontend.http.errors import ApiError, as_api_error
from orchestrator.frontend.service import ServiceError


class _Headers(Protocol):
    def get(self, name: str, /) -> str | None: ...


class GuardedRequest(Protocol):
    """What the guard looks at. `headers` are case-insensitive."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> _Headers: ...


class HttpGuard:
    """Call it with a request's head, before its body is read."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, request: GuardedRequest) -> Caller:
        """The caller; raises ApiError 401, 403 or 429. The server calls `done` on the caller when the request is over."""
        needed = http_role(request.path, self._gate.open_metrics)
        if needed is None:
            return ANYBODY
        authorization = request.headers.get("Authorization") or ""
        try:
            return self._gate.admit(authorization, needed, http_counted(request.method))
        except Denied as denied:
            if denied.known:
                raise ApiError(403, denied.message, "forbidden") from None
            challenge = {"WWW-Authenticate": 'Bearer realm="tandem"'}
            raise ApiError(401, denied.message, "invalid_api_key", headers=challenge) from None
        except ServiceError as error:
            raise as_api_error(error) from None
