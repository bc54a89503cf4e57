"""Where front doors connect: framed ToWorker messages in, framed FromWorker messages out, over plain TCP.

A message costs a front door one system call and a few microseconds here, where grpc.aio takes more than 100 µs of processor time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

from google.protobuf.message import DecodeError

from orchestrator.core.frames import Deframer, FrameError, frame
from orchestrator.core.sockets import keep_alive
from pd.v1 import worker_pb2 as pb
from workers.process.sessions import Send

log = logging.getLogger(__name__)

BACKLOG_BYTES = 64 << 20
"""A front door that leaves this much unread is cut off; it dials again when it can."""
PULSE_S = 0.5
HELLO_S = 5.0


class SessionEvents(Protocol):
    """Who deals with sessions. Called on the event loop; `send` may be called from any thread."""

    def opened(self, front_door: str, send: Send) -> None: ...
    def received(self, front_door: str, message: pb.ToWorker) -> None: ...
    def lost(self, front_door: str, send: Send) -> None: ...
    def pulse(self) -> pb.Pulse: ...


class Session(asyncio.Protocol):
    """One connection of one front door. The first message must be Hello."""

    def __init__(self, events: SessionEvents, describe: Callable[[], pb.WorkerDescription]) -> None:
        self._events = events
        self._describe = describe
        self._loop = asyncio.get_running_loop()
        self._deframer = Deframer()
        self._front_door = ""
        self._sender: Send = self.send
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport.get_extra_info("socket"))
        self._timer = self._loop.call_later(HELLO_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._deframer.feed(data):
                self._received(pb.ToWorker.FromString(message))
        except (FrameError, DecodeError) as error:
            log.warning("front door %s: %s", self._front_door or self._transport.get_extra_info("peername"), error)
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._front_door:
            self._events.lost(self._front_door, self._sender)

    def send(self, message: bytes) -> None:
        """Queue an encoded FromWorker, from any thread."""
        self._loop.call_soon_threadsafe(self._write, message)

    def _received(self, message: pb.ToWorker) -> None:
        if self._front_door:
            self._events.received(self._front_door, message)
            return
        if message.WhichOneof("kind") != "hello" or not message.hello.front_door:
            raise FrameError("the first message must be Hello with a front_door")
        self._front_door = message.hello.front_door
        self._write(pb.FromWorker(welcome=self._describe()).SerializeToString())
        self._write(pb.FromWorker(cache=pb.CacheEvents(reset=True)).SerializeToString())
        self._events.opened(self._front_door, self._sender)
        self._pulse()

    def _write(self, message: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(frame(message))
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES:
            log.warning("front door %s reads nothing: cut off", self._front_door)
            self._transport.abort()

    def _pulse(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._write(pb.FromWorker(pulse=self._events.pulse()).SerializeToString())
        self._timer = self._loop.call_later(PULSE_S, self._pulse)


async def serve_sessions(
    events: SessionEvents, describe: Callable[[], pb.WorkerDescription], host: str, port: int = 0
) -> tuple[asyncio.Server, int]:
    """Listen for front doors; returns the server and its port."""
    server = await asyncio.get_running_loop().create_server(lambda: Session(events, describe), host, port)
    return server, int(server.sockets[0].getsockname()[1])
