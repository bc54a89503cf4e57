"""Which handler answers which path."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.frontend.http.server.bounds import Bounds
from orchestrator.frontend.http.server.error import ApiError
from orchestrator.frontend.http.server.request import Caller, Handler, Request

NOT_FOUND = "There is no {path}: see /v1/models, /v1/chat/completions, /v1/completions and /v1/responses."
_SHOWN_CHARS = 100


class App:
    """Routes, and the guard before them.

    A handler takes a Request and returns a Response, or None if it answers through `request.stream()`; or an awaitable of
    either, which runs as a task and is cancelled when the client goes away. It may raise ApiError. A handler that is done
    without waiting should be a plain function: it then costs no task.

    `guard` is called before the body has been read; it raises ApiError to refuse, and what it returns becomes
    `request.caller`. It is called for unknown paths too. `on_refusal` hears of every request that no handler was asked for:
    refused by the guard, by the routes or for its form.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.on_refusal: Callable[[Request, ApiError], None] | None = None
        self.guard: Callable[[Request], Caller | None] | None = None
        self._exact: dict[str, dict[str, Handler]] = {}
        self._prefixes: list[tuple[str, str, dict[str, Handler]]] = []

    def get(self, path: str, handler: Handler) -> None:
        """Answer GET and HEAD; see `add`."""
        self.add("GET", path, handler)

    def post(self, path: str, handler: Handler) -> None:
        """Answer POST; see `add`."""
        self.add("POST", path, handler)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Answer `method` on `path`. A path that ends in `{NAME}` matches any rest, slashes included."""
        if path.endswith("}"):
            prefix, _, name = path[:-1].rpartition("{")
            for known, parameter, methods in self._prefixes:
                if (known, parameter) == (prefix, name):
                    methods[method] = handler
                    return
            self._prefixes.append((prefix, name, {method: handler}))
        else:
            self._exact.setdefault(path, {})[method] = handler

    def routes(self) -> list[tuple[str, str]]:
        """Every method and path that has a handler."""
        prefixes = [(f"{prefix}{{{name}}}", methods) for prefix, name, methods in self._prefixes]
        return [(method, path) for path, methods in [*self._exact.items(), *prefixes] for method in methods]

    def admit(self, request: Request) -> None:
        """Guard and find the handler; sets `handler`, or `refusal`."""
        try:
            if self.guard is not None:
                request.caller = self.guard(request)
            request.handler = self._find(request)
        except ApiError as error:
            request.refusal = error

    def _find(self, request: Request) -> Handler:
        methods = self._exact.get(request.path)
        if methods is None:
            methods = self._find_prefix(request)
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
            message = f"{request.method} is not allowed on {request.path[:_SHOWN_CHARS]}: use {allowed}."
            raise ApiError(405, message, "method_not_allowed", headers={"Allow": allowed})
        return handler

    def _find_prefix(self, request: Request) -> dict[str, Handler]:
        for prefix, name, methods in self._prefixes:
            if request.path.startswith(prefix) and len(request.path) > len(prefix):
                request.parameters = {name: request.path[len(prefix) :]}
                return methods
        raise ApiError(404, NOT_FOUND.format(path=request.path[:_SHOWN_CHARS]), "not_found")
