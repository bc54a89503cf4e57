"""Runs one request on the token service and yields its text."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from orchestrator.core.sampling import Finish
from orchestrator.frontend.service import Cause, Delta, DeltaStream, ServiceError, Submission, TokenService
from orchestrator.frontend.text.assembler import Assembler, Piece


class GenerationCancelled(Exception):
    """Somebody other than the client cancelled the request."""


def failure_of(item: Delta | ServiceError) -> ServiceError | GenerationCancelled | None:
    """What failed the request, where an item of its output says so."""
    if isinstance(item, ServiceError):
        return item
    if item.finish is Finish.CANCELLED:
        return GenerationCancelled()
    if item.finish is Finish.ERROR:
        return ServiceError(Cause.WORKER, "the workers could not finish this request")
    return None


class Meter(Protocol):
    """Hears of every delta; see orchestrator.observability."""

    def tokens(self, count: int) -> None: ...


async def generate(
    service: TokenService, submission: Submission, assembler: Assembler, meter: Meter
) -> AsyncGenerator[Piece, None]:
    """Pieces up to and with the one that has `finish`.

    Raises ServiceError when the request is refused or fails, GenerationCancelled when it was cancelled elsewhere. Closing
    this generator, or a stop string, ends the request on the workers.
    """
    stream = DeltaStream()
    running = service.submit(submission, stream)
    try:
        finished = False
        async for delta in stream:
            if (error := failure_of(delta)) is not None:
                raise error
            piece = assembler.push(delta)
            meter.tokens(len(piece.tokens))
            finished = piece.finish is not None
            if assembler.stopped:
                running.complete()  # before the last write, which a slow client may hold up
            yield piece
            if assembler.stopped:
                return
        if not finished:
            raise ServiceError(Cause.WORKER, "the token stream ended before the request did")
    finally:
        running.cancel()
