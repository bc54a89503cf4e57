"""One front door's connection to one worker: dials, redials, hands messages both ways, and notices silence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol, cast

from google.protobuf.message import DecodeError

from orchestrator.core.frames import Deframer, FrameError, frames
from orchestrator.core.sockets import keep_alive
from pd.v1 import worker_pb2 as pb

log = logging.getLogger(__name__)

DIAL_S = 5.0
REDIAL_FIRST_S = 0.05
REDIAL_MOST_S = 1.0
WATCH_S = 0.25
SILENT_S = 3.0
"""A worker that says nothing for this long hangs, or its machine is gone. Workers say something every half second."""
STEP_S = 60.0
"""A worker whose engine has been in one step for this long hangs, although its process lives."""
BACKLOG_BYTES = 256 << 20
"""A worker that leaves this much unread hangs."""


class LinkEvents(Protocol):
    """What a link tells its dispatcher, on the event loop."""

    def link_up(self, link: WorkerLink) -> None: ...
    def link_down(self, link: WorkerLink, why: str) -> None: ...
    def link_message(self, link: WorkerLink, message: pb.FromWorker) -> None: ...


class WorkerLink:
    """One incarnation of one worker; `address` is that of its sessions."""

    def __init__(
        self,
        name: str,
        address: str,
        incarnation: int,
        front_door: str,
        events: LinkEvents,
        *,
        silent_s: float = SILENT_S,
        step_s: float = STEP_S,
    ) -> None:
        self.name = name
        self.address = address
        self.incarnation = incarnation
        self.front_door = front_door
        self.events = events
        self.silent_s, self.step_s = silent_s, step_s
        self.description = pb.WorkerDescription()
        self.status: pb.WorkerStatus | None = None
        self._connection: _Connection | None = None
        self._task = asyncio.create_task(self._run(), name=f"link-{name}")

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def send(self, message: pb.ToWorker) -> None:
        """Queue a message; dropped if the connection is down, because whoever needs an answer hears of `link_down`."""
        if self._connection is not None:
            self._connection.send(message.SerializeToString())

    def opened(self, connection: _Connection, welcome: pb.WorkerDescription) -> None:
        self._connection = connection
        self.description = welcome
        self.events.link_up(self)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        host, _, port = self.address.rpartition(":")
        pause_s, why = REDIAL_FIRST_S, "front door closed the link"
        connection: _Connection | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(DIAL_S):
                        _, connection = await asyncio.get_running_loop().create_connection(
                            lambda: _Connection(self), host.strip("[]"), int(port)
                        )
                    why = await connection.lost
                except (OSError, TimeoutError) as error:
                    why = f"{type(error).__name__}: {error}"
                pause_s = REDIAL_FIRST_S if self.connected else min(2 * pause_s, REDIAL_MOST_S)
                self._down(why)
                await asyncio.sleep(pause_s)
        finally:
            if connection is not None:
                connection.end("front door closed the link")
            self._down("front door closed the link")

    def _down(self, why: str) -> None:
        if self._connection is None:
            return
        self._connection = None
        try:
            self.events.link_down(self, why)
        except Exception:  # whatever the loss led to, the worker must be dialled again
            log.exception("loss of %s", self.name)


class _Connection(asyncio.Protocol):
    """One life of the stream. `lost` tells why it ended. Messages of one turn of the event loop leave in one write."""

    def __init__(self, link: WorkerLink) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._deframer = Deframer()
        self._out: list[bytes] = []
        self._welcomed = False
        self._heard_s = self._loop.time()
        self._watch_due_s = self._heard_s + WATCH_S
        self._watcher: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport.get_extra_info("socket"))
        self._watcher = self._loop.call_later(WATCH_S, self._watch)
        self.send(pb.ToWorker(hello=pb.Hello(front_door=self._link.front_door)).SerializeToString())

    def send(self, message: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(message)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        try:
            for message in self._deframer.feed(data):
                if self.lost.done():
                    return
                self._received(pb.FromWorker.FromString(message))
        except Exception as error:  # one worker's bad message must not end its link for good
            if not isinstance(error, (FrameError, DecodeError)):
                log.exception("message of %s", self._link.name)
            self.end(f"{type(error).__name__}: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self.end(str(error) if error else "the worker closed the connection")

    def end(self, why: str) -> None:
        """Hang up; the first reason counts."""
        if self._watcher is not None:
            self._watcher.cancel()
        self._transport.abort()
        if not self.lost.done():
            self.lost.set_result(why)

    def _received(self, message: pb.FromWorker) -> None:
        kind = message.WhichOneof("kind")
        link = self._link
        if not self._welcomed:
            if kind != "welcome":
                raise FrameError("no welcome")
            if message.welcome.incarnation != link.incarnation:
                raise FrameError(f"{link.address} is incarnation {message.welcome.incarnation}, not {link.incarnation}")
            self._welcomed = True
            link.opened(self, message.welcome)
        elif kind == "pulse":
            if message.pulse.step_s > link.step_s:
                self.end(f"hung: one engine step lasts {message.pulse.step_s:.0f} s")
        else:
            if kind == "status":
                link.status = message.status
            link.events.link_message(link, message)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport.is_closing():
            return
        self._transport.write(frames(out))
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES:
            self.end("hung: it reads nothing")

    def _watch(self) -> None:
        now_s = self._loop.time()
        if now_s > self._watch_due_s + WATCH_S:
            # This process stood still (stopped, or starved): what the worker said meanwhile waits to be read.
            self._heard_s = max(self._heard_s, now_s - WATCH_S)
        if now_s - self._heard_s > self._link.silent_s:
            self.end(f"hung: silent for {now_s - self._heard_s:.1f} s")
            return
        self._watch_due_s = now_s + WATCH_S
        self._watcher = self._loop.call_later(WATCH_S, self._watch)
