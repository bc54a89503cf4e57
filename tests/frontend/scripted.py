"""A scripted token service: the seam between the APIs and the cluster, without a cluster.

Tests of the APIs stop here; what is behind `TokenService` has tests of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from orchestrator.frontend.service import Delta, ModelInfo, ServiceError, Submission


@dataclass
class ScriptedService:
    """Plays `deltas` to every submission, then raises `error` if there is one.

    `hold_after` deltas it waits until `release` is set. `refusal` is raised by `submit` itself.
    """

    model: ModelInfo
    deltas: list[Delta] = field(default_factory=list)
    error: ServiceError | None = None
    refusal: ServiceError | None = None
    hold_after: int | None = None
    ready: bool = True
    submissions: list[Submission] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def submit(self, submission: Submission) -> AsyncIterator[Delta]:
        if self.refusal is not None:
            raise self.refusal
        self.submissions.append(submission)
        return self._play(submission)

    async def _play(self, submission: Submission) -> AsyncIterator[Delta]:
        try:
            for i, delta in enumerate(self.deltas):
                if i == self.hold_after:
                    await self.release.wait()
                yield delta
            if self.hold_after is not None and self.hold_after >= len(self.deltas):
                await self.release.wait()
            if self.error is not None:
                raise self.error
            self.completed.append(submission.request_id)
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled.append(submission.request_id)
            raise

    def cancel(self, request_id: str) -> bool:
        return False
