"""An HTTP/1.1 server for JSON requests and event streams: llhttp's parser on asyncio protocols.

`App` has the routes, `Request` and `Response` are what handlers see, `Stream` answers piece by piece, `Bounds` says what a
client may cost, `start_http` serves.
"""

from orchestrator.frontend.http.server.app import App
from orchestrator.frontend.http.server.bounds import Bounds
from orchestrator.frontend.http.server.error import ApiError, internal_error
from orchestrator.frontend.http.server.headers import Headers
from orchestrator.frontend.http.server.request import Caller, Handler, Reply, Request
from orchestrator.frontend.http.server.response import Response
from orchestrator.frontend.http.server.server import Server, start_http
from orchestrator.frontend.http.server.stream import ChunkFrame, Stream

__all__ = [
    "ApiError",
    "App",
    "Bounds",
    "Caller",
    "ChunkFrame",
    "Handler",
    "Headers",
    "Reply",
    "Request",
    "Response",
    "Server",
    "Stream",
    "internal_error",
    "start_http",
]
