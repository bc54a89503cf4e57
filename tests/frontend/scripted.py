"""A scripted token service: the seam between the APIs and the cluster, without a cluster.

Tests of the APIs stop here; what is behind `TokenService` has tests of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.frontend.service import Delta, ModelInfo, Running, ServiceError, Sink, Submission


@dataclass
class ScriptedService:
    """Plays `deltas` to every submission, one per turn of the event loop, then `error` if there is one.

    `hold_after` deltas it waits until `release` is set. `refusal` is raised by `submit` itself, once it has taken `accepts`
    submissions. `deltas_of` gives the deltas of a submission where they differ.
    """

    model: ModelInfo
    deltas: list[Delta] = field(default_factory=list)
    error: ServiceError | None = None
    refusal: ServiceError | None = None
    accepts: int = 0
    deltas_of: Callable[[Submission], list[Delta]] | None = None
    hold_after: int | None = None
    ready: bool = True
    submissions: list[Submission] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def submit(self, submission: Submission, sink: Sink) -> Running:
        if self.refusal is not None and len(self.submissions) >= self.accepts:
            raise self.refusal
        self.submissions.append(submission)
        deltas = self.deltas if self.deltas_of is None else self.deltas_of(submission)
        return ScriptedRun(self, submission.request_id, sink, deltas)

    def cancel(self, request_id: str) -> bool:
        return False


class ScriptedRun:
    """One request, played by a task."""

    def __init__(self, service: ScriptedService, request_id: str, sink: Sink, deltas: list[Delta]) -> None:
        self._service = service
        self._request_id = request_id
        self._sink = sink
        self._deltas = deltas
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._play())

    def _give(self, delta: Delta) -> None:
        """As the dispatcher does: the usual delta goes to a TokenSink as a token."""
        take = getattr(self._sink, "token", None)
        if take is not None and delta.first_index and delta == Delta(delta.first_index, delta.tokens[:1]):
            take(delta.first_index, delta.tokens[0], time.perf_counter())
        else:
            self._sink.put(delta)

    async def _play(self) -> None:
        service = self._service
        for i, delta in enumerate(self._deltas):
            if i == service.hold_after:
                await service.release.wait()
            if delta.finish is not None:
                self._end(service.completed)
            self._give(delta)
            await asyncio.sleep(0)
        if service.hold_after is not None and service.hold_after >= len(self._deltas):
            await service.release.wait()
        if service.error is not None:
            self._end([])
            self._sink.put(service.error)

    def _end(self, how: list[str]) -> None:
        if self._task is not None:
            self._task = None
            how.append(self._request_id)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._end(self._service.cancelled)

    def complete(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._end(self._service.stopped)
