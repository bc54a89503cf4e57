"""Sends a schedule: each request at its time, whatever became of the ones before."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.replay.client import CompletionClient
from orchestrator.replay.load import ClientLoad, is_paced
from orchestrator.replay.prompts import Prompts
from orchestrator.report.outcome import Outcome
from orchestrator.workload.schedule import Planned


@dataclass(frozen=True, slots=True)
class Result:
    """Outcomes in the order in which requests ended; `dropped` were in flight or not yet sent when the run was stopped."""

    outcomes: list[Outcome]
    duration_s: float
    dropped: int
    load: ClientLoad
    paced: bool


class Runner:
    """An open loop: at most `concurrency` requests at once, and one that must wait for its turn still counts from when it was due."""

    def __init__(
        self, client: CompletionClient, prompts: Prompts, concurrency: int, on_outcome: Callable[[Outcome], None]
    ) -> None:
        self._client = client
        self._prompts = prompts
        self._slots = asyncio.Semaphore(concurrency)
        self._on_outcome = on_outcome
        self._outcomes: list[Outcome] = []
        self._load = ClientLoad()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Send no more and drop what is in flight."""
        self._stop.set()

    async def run(self, schedule: Sequence[Planned]) -> Result:
        """Send all; SIGINT and SIGTERM stop early, and the result then covers what had ended by then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        start_s = time.monotonic()
        try:
            sending = asyncio.create_task(self._send_all(schedule, start_s))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not sending.done():
                sending.cancel()
            await asyncio.gather(sending, stopping, return_exceptions=True)
            if not sending.cancelled() and (failure := sending.exception()):
                raise failure
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        duration_s = time.monotonic() - start_s
        paced = is_paced([planned.at_s for planned in schedule])
        return Result(self._outcomes, duration_s, len(schedule) - len(self._outcomes), self._load, paced)

    async def _send_all(self, schedule: Sequence[Planned], start_s: float) -> None:
        async with asyncio.TaskGroup() as group:
            for planned in schedule:
                wait_s = start_s + planned.at_s - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                # Whoever must wait for a slot keeps nobody else from being due.
                group.create_task(self._send(planned, start_s))

    async def _send(self, planned: Planned, start_s: float) -> None:
        ids = self._prompts.ids(planned)
        waited_s = 0.0
        if self._slots.locked():
            due_s = time.monotonic()
            await self._slots.acquire()
            waited_s = time.monotonic() - due_s
        else:
            await self._slots.acquire()
        try:
            outcome = await self._client.send(
                planned, ids, start_s, lambda at_s: self._load.sent(at_s - start_s - planned.at_s, waited_s)
            )
            self._outcomes.append(outcome)
            self._on_outcome(outcome)
        finally:
            self._slots.release()
