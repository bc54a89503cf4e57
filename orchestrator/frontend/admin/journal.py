"""The Admin calls that read what happened: events and logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from orchestrator.frontend.admin import messages
from orchestrator.frontend.admin.base import AdminBase
from orchestrator.frontend.admin.errors import Context, exhausted, not_found
from orchestrator.frontend.admin.watch import PERIOD_S
from orchestrator.logs import Follower, Logs, UnknownLog
from orchestrator.logs.tail import CHUNK_BYTES, MOST_LINES
from orchestrator.state import Document
from pd.v1 import admin_pb2 as pb

LIST_LIMIT = 100
EVENT_LIMIT = 10_000
MOST_SEQUENCE = (1 << 63) - 1
"""What stores count to; the API's numbers go further."""
TAIL_LINES = 100
FOLLOWERS = 16
"""Logs that are followed at once; each holds a file open and reads it five times a second."""


class Journal(AdminBase):
    """Logs are those of the machine that this front door runs on."""

    _followers = 0

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.EventList:
        events = await self._events(_about(request.object), request.after)
        limit = request.limit or LIST_LIMIT
        # Whoever follows the log wants what comes next; whoever looks at it for the first time, the latest.
        return pb.EventList(items=events[:limit] if request.after else events[-limit:])

    async def WatchEvents(self, request: pb.ListEventsRequest, context: Context) -> AsyncIterator[pb.EventList]:
        wanted, after, first = _about(request.object), request.after, not request.after
        while True:
            events = await self._events(lambda event: True, after)
            shown = [event for event in events if wanted({"kind": event.kind, "object": event.object})]
            if first:
                shown = shown[-(request.limit or LIST_LIMIT) :]
            if shown or first:
                yield pb.EventList(items=shown)
            after = max([after, *(event.sequence for event in events)])
            first = False
            await asyncio.sleep(PERIOD_S)

    async def Logs(self, request: pb.LogsRequest, context: Context) -> AsyncIterator[pb.LogChunk]:
        follower = Follower(await self._log(request.name, context))
        if request.follow and self._followers >= FOLLOWERS:
            await exhausted(context, f"{FOLLOWERS} logs are followed already; try again when one of them is not")
        self._followers += 1
        try:
            tail = await asyncio.to_thread(follower.start, min(request.tail or TAIL_LINES, MOST_LINES))
            for start in range(0, len(tail), CHUNK_BYTES):
                yield pb.LogChunk(data=tail[start : start + CHUNK_BYTES])
            while request.follow:
                if new := await asyncio.to_thread(follower.more):
                    yield pb.LogChunk(data=new)
                else:
                    await asyncio.sleep(PERIOD_S)
        finally:
            self._followers -= 1
            follower.close()

    async def _log(self, name: str, context: Context) -> Path:
        logs = Logs(Path(self._info.run_dir))
        try:
            return await asyncio.to_thread(logs.path, name)
        except UnknownLog as error:
            endpoint = await asyncio.to_thread(self._store.get, "endpoint", name)
            where = f"log (it runs on {endpoint['node']}: look in {logs.directory} there)" if endpoint else "log"
            await not_found(context, where, name, error.known)

    async def _events(self, wanted: Callable[[Document], bool], after: int = 0) -> list[pb.Event]:
        events = await asyncio.to_thread(self._store.events, min(after, MOST_SEQUENCE), EVENT_LIMIT)
        return [messages.event_message(sequence, event) for sequence, event in events if wanted(event)]


def _about(name: str) -> Callable[[Document], bool]:
    """Whether an event is about `decode-0` or `worker/decode-0`; about anything for an empty name."""
    kind, slash, rest = name.rpartition("/")
    return lambda event: not name or (event["object"] == rest and (not slash or event["kind"] == kind))
