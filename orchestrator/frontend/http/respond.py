"""Runs a submission and writes its answer, whole or as a stream of server-sent events."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import DONE, Renderer, usage_of
from orchestrator.frontend.http.errors import ApiError, as_api_error, internal_error
from orchestrator.frontend.http.headers import REQUEST_ID
from orchestrator.frontend.service import ServiceError
from orchestrator.frontend.text import Assembler, GenerationCancelled, Piece, TextToken

_log = logging.getLogger(__name__)
_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class ClientGone(Exception):
    """The connection closed before the answer was complete."""


async def answer_whole(
    request: web.Request,
    pieces: AsyncGenerator[Piece, None],
    assembler: Assembler,
    renderer: Renderer,
    prompt_tokens: int,
) -> web.Response:
    """Collect the pieces into one JSON answer."""
    texts: list[str] = []
    tokens: list[TextToken] = []
    finish = Finish.LENGTH
    async with aclosing(pieces):
        async for piece in pieces:
            _check_client(request)
            texts.append(piece.text)
            tokens.extend(piece.text_tokens)
            finish = piece.finish or finish
    body = renderer.whole("".join(texts), tokens, finish, usage_of(prompt_tokens, assembler))
    return web.Response(text=json.dumps(body), content_type="application/json")


async def answer_stream(
    request: web.Request,
    pieces: AsyncGenerator[Piece, None],
    assembler: Assembler,
    renderer: Renderer,
    prompt_tokens: int,
    include_usage: bool,
) -> web.StreamResponse:
    """Write every piece when it comes, in one write.

    The status line waits for the first piece, so that a refusal still has a status of its own; an error after that is an event.
    Raises ClientGone when the connection closes.
    """
    response = web.StreamResponse(headers=_STREAM_HEADERS)
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                first = not response.prepared
                _check_client(request)
                data = renderer.chunk(piece, first)
                if piece.finish is not None:
                    data += (renderer.usage_chunk(usage_of(prompt_tokens, assembler)) if include_usage else b"") + DONE
                if first:
                    await response.prepare(request)
                if data:
                    await response.write(data)
        await response.write_eof()
    except ConnectionError as error:
        raise ClientGone from error
    except (ServiceError, GenerationCancelled) as error:
        if not response.prepared:
            raise
        await _write_error(response, as_api_error(error))
        raise StreamFailed(response, error) from error
    except Exception as error:
        if not response.prepared or isinstance(error, ClientGone):
            raise
        _log.exception("request %s failed in its stream", request[REQUEST_ID])
        await _write_error(response, internal_error(request[REQUEST_ID]))
        raise StreamFailed(response, error) from error
    return response


class StreamFailed(Exception):
    """The request failed after its stream had begun; the client has been told in the stream."""

    def __init__(self, response: web.StreamResponse, error: Exception) -> None:
        super().__init__(str(error))
        self.response = response
        self.error = error


async def _write_error(response: web.StreamResponse, error: ApiError) -> None:
    try:
        await response.write(error.event())
        await response.write_eof()
    except ConnectionError:
        _log.info("client left before the error %s reached it", error.code)


def _check_client(request: web.Request) -> None:
    if request.transport is None or request.transport.is_closing():
        raise ClientGone
