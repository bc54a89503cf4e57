"""Calls the handler of a request and sees that it is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from orchestrator.frontend.http.server.app import App
from orchestrator.frontend.http.server.error import ApiError, internal_error
from orchestrator.frontend.http.server.request import Reply, Request
from orchestrator.frontend.http.server.response import Response
from orchestrator.frontend.http.server.stream import Stream

_log = logging.getLogger(__name__)


def run(app: App, request: Request, stream: Stream) -> None:
    """Answer `request` on `stream`, at once or by a task."""
    if request.refusal is not None:
        if app.on_refusal is not None:
            app.on_refusal(request, request.refusal)
        stream.answer(request.refusal.response())
        return
    assert request.handler is not None, "what is not refused has a handler"
    try:
        reply = request.handler(request)
    except Exception as error:
        _fail(stream, error)
        return
    if reply is None or isinstance(reply, Response):
        _answer(stream, reply)
    else:
        stream.task = asyncio.get_running_loop().create_task(_wait(stream, reply))


async def _wait(stream: Stream, reply: Awaitable[Reply]) -> None:
    try:
        _answer(stream, await reply)
    except (Exception, asyncio.CancelledError) as error:
        if not stream.over:
            _fail(stream, error)
    finally:
        stream.task = None


def _answer(stream: Stream, reply: Reply) -> None:
    if reply is not None:
        stream.answer(reply)
    elif not stream.taken:
        _fail(stream, RuntimeError("the handler neither answered nor took the stream"))


def _fail(stream: Stream, error: BaseException) -> None:
    if not isinstance(error, ApiError):
        _log.error("request %s failed", stream.request.id, exc_info=error, extra={"request_id": stream.request.id})
        error = internal_error(stream.request.id)
    stream.answer(error.response())
