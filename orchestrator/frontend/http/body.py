"""The request body: JSON, an object."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

from orchestrator.core.quote import quoted
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.server import Request


def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body; raises ApiError 400 or 415."""
    if request.headers.raw.get(b"content-type") != b"application/json":
        _check_type(request)
    if request.headers.raw.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ApiError(415, "The body is compressed: send it as it is, without Content-Encoding.", "content_encoding")
    try:
        body = orjson.loads(request.body)
    except ValueError:
        body = _read_slowly(request.body)
    if not isinstance(body, dict):
        raise ApiError(
            400, f'The body must be a JSON object such as {{"model": …}}, not {type(body).__name__}.', "invalid_json"
        )
    return body


def _check_type(request: Request) -> None:
    kind = (request.headers.get("Content-Type") or "application/octet-stream").partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/json"):
        raise ApiError(
            415, f"Content type {quoted(kind)} is not supported: send 'Content-Type: application/json'.", "content_type"
        )


def _read_slowly(raw: bytes) -> Any:
    """What orjson refuses: says why, or takes it (half a surrogate pair, which is refused with its field's name later)."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ApiError(
            400, f"The body is not UTF-8 (byte {error.start}): encode the JSON as UTF-8.", "invalid_json"
        ) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ApiError(
            400, f"The body is not valid JSON: {error.msg} at {where}. Send one JSON object.", "invalid_json"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ApiError(
            400, f"The body is not usable JSON: {error}. Send one plain JSON object.", "invalid_json"
        ) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
