"""The target of a request line: path and query."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import unquote

from orchestrator.core.quote import quoted
from orchestrator.frontend.http.server.error import ApiError


@lru_cache(maxsize=256)
def split_target(target: bytes) -> tuple[str, str]:
    """Path (percent-decoded) and query (as it came) of an origin-form or absolute-form target.

    Raises ApiError 400 for the other forms. Source: RFC 9112 §3.2.
    """
    text = target.decode("latin-1")
    if not text.startswith("/"):
        scheme, separator, rest = text.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise ApiError(
                400, f"The request target {quoted(text)} is no path: send one such as /v1/models.", "bad_target"
            )
        slash = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
        text = rest[slash:] if rest[slash : slash + 1] == "/" else "/" + rest[slash:]
    path, _, query = text.partition("#")[0].partition("?")
    if "%" in path:
        path = unquote(path)
        if "\x00" in path or "\n" in path or "\r" in path:
            raise ApiError(400, "The path holds a control character: remove it.", "bad_target")
    return path, query
