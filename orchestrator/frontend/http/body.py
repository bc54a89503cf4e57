"""The request body: bounded, JSON, an object."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from aiohttp import web

from orchestrator.frontend.http.errors import ApiError


async def read_object(request: web.Request, max_body_bytes: int) -> dict[str, Any]:
    """The JSON object in the body; raises ApiError 400, 413 or 415."""
    if request.content_type not in ("application/json", "text/json"):
        raise ApiError(
            415,
            f"Content type {request.content_type!r} is not supported: send 'Content-Type: application/json'.",
            "content_type",
        )
    if (request.content_length or 0) > max_body_bytes:
        raise _too_large(max_body_bytes)
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(max_body_bytes) from None
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
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
    if not isinstance(body, dict):
        raise ApiError(
            400, f'The body must be a JSON object such as {{"model": …}}, not {type(body).__name__}.', "invalid_json"
        )
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _too_large(max_body_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The body is larger than {max_body_bytes} bytes: shorten the prompt, or raise frontDoor.maxBodyBytes.",
        "body_too_large",
    )
