"""Around every request: its id, the API key, and one envelope for every error."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from orchestrator.frontend.http.api_keys import ApiKeys
from orchestrator.frontend.http.errors import ApiError, internal_error
from orchestrator.frontend.http.headers import REQUEST_ID, REQUEST_ID_HEADER, request_id
from orchestrator.frontend.http.respond import ClientGone

_log = logging.getLogger(__name__)


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Return the request id with every response, streams and errors included."""
    response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]


def envelope(keys: ApiKeys) -> Middleware:
    """The middleware that turns errors into responses."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = request_id(request.headers)
        try:
            if request.path.startswith("/v1/") and not keys.allow(request.headers.get("Authorization", "")):
                raise ApiError(
                    401,
                    "A valid API key is needed: send 'Authorization: Bearer KEY'.",
                    "invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return await handler(request)
        except ApiError as error:
            return error.response()
        except ClientGone:
            return web.Response(status=499)  # nobody reads it
        except web.HTTPNotFound:
            message = f"There is no {request.path}: see /v1/models, /v1/chat/completions and /v1/completions."
            return ApiError(404, message, "not_found").response()
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            message = f"{request.method} is not allowed on {request.path}: use {allowed}."
            return ApiError(405, message, "method_not_allowed", headers={"Allow": allowed}).response()
        except web.HTTPException as error:
            return ApiError(error.status, f"{error.reason}: check the request.", "http_error").response()
        except Exception:
            _log.exception("request %s failed", request[REQUEST_ID])
            return internal_error(request[REQUEST_ID]).response()

    return guard
