"""One front door's stream to one worker: dials, redials, and hands messages both ways."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

import grpc

from pd.v1 import worker_pb2 as pb
from pd.v1 import worker_pb2_grpc

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 16 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]
DIAL_S = 5.0
REDIAL_FIRST_S = 0.05
REDIAL_MOST_S = 1.0


class LinkEvents(Protocol):
    """What a link tells its dispatcher, on the event loop."""

    def link_up(self, link: WorkerLink) -> None: ...
    def link_down(self, link: WorkerLink, why: str) -> None: ...
    def link_message(self, link: WorkerLink, message: pb.FromWorker) -> None: ...


class WorkerLink:
    """One incarnation of one worker."""

    def __init__(self, name: str, address: str, incarnation: int, front_door: str, events: LinkEvents) -> None:
        self.name = name
        self.address = address
        self.incarnation = incarnation
        self.description = pb.WorkerDescription()
        self.status: pb.WorkerStatus | None = None
        self.connected = False
        self._front_door = front_door
        self._events = events
        self._outbox: asyncio.Queue[pb.ToWorker] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(), name=f"link-{name}")

    def send(self, message: pb.ToWorker) -> None:
        """Queue a message; dropped if the stream is down, because whoever needs an answer hears of `link_down`."""
        if self.connected:
            self._outbox.put_nowait(message)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        pause_s = REDIAL_FIRST_S
        while True:
            why = "closed"
            try:
                async with grpc.aio.insecure_channel(self.address, options=OPTIONS) as channel:
                    await self._talk(channel)
            except grpc.aio.AioRpcError as error:
                why = f"{error.code().name}: {error.details()}"
            except asyncio.CancelledError:
                self._down("front door closed the link")
                raise
            except Exception as error:  # one worker's bad message must not end its link for good
                log.exception("link to %s", self.name)
                why = f"{type(error).__name__}: {error}"
            pause_s = REDIAL_FIRST_S if self.connected else min(2 * pause_s, REDIAL_MOST_S)
            self._down(why)
            await asyncio.sleep(pause_s)

    async def _talk(self, channel: grpc.aio.Channel) -> None:
        call = worker_pb2_grpc.WorkerStub(channel).Session()
        await call.write(pb.ToWorker(hello=pb.Hello(front_door=self._front_door)))
        first = await asyncio.wait_for(call.read(), DIAL_S)
        if not isinstance(first, pb.FromWorker) or first.WhichOneof("kind") != "welcome":
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, (), (), details="no welcome")  # type: ignore[arg-type]
        if first.welcome.incarnation != self.incarnation:
            raise RuntimeError(f"{self.address} is incarnation {first.welcome.incarnation}, not {self.incarnation}")
        self.description = first.welcome
        self._outbox = asyncio.Queue()
        self.connected = True
        self._events.link_up(self)
        writer = asyncio.create_task(self._write(call))
        try:
            while isinstance(message := await call.read(), pb.FromWorker):
                if message.WhichOneof("kind") == "status":
                    self.status = message.status
                self._events.link_message(self, message)
        finally:
            writer.cancel()
            call.cancel()

    async def _write(self, call: grpc.aio.StreamStreamCall[pb.ToWorker, pb.FromWorker]) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await call.write(await self._outbox.get())

    def _down(self, why: str) -> None:
        if self.connected:
            self.connected = False
            try:
                self._events.link_down(self, why)
            except Exception:  # whatever the loss led to, the worker must be dialled again
                log.exception("loss of %s", self.name)
