"""A double of NixlConnector's side channel: a ROUTER that hands out a server's handshake."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import zmq
import zmq.asyncio

SILENT = None


class SideChannel:
    """`payload` is the first frame of every answer; SILENT for none. `asked` are the questions."""

    def __init__(self, compatibility_hash: str = "0123456789abcdef") -> None:
        self.payload: bytes | None = handshake(compatibility_hash)
        self.asked: list[Any] = []
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._task = asyncio.create_task(self._answer())

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._context.destroy(linger=0)

    async def _answer(self) -> None:
        while True:
            client, empty, question = await self._socket.recv_multipart()
            self.asked.append(msgspec.msgpack.decode(question))
            if self.payload is not SILENT:
                clock = msgspec.msgpack.encode(12.5)
                await self._socket.send_multipart((client, empty, self.payload, clock))


def handshake(compatibility_hash: str) -> bytes:
    """As vLLM packs it: the hash, and agent metadata that nobody reads before the hashes agree."""
    document = {"compatibility_hash": compatibility_hash, "agent_metadata_bytes": b"\x00\xff"}
    return msgspec.msgpack.encode(document)


@asynccontextmanager
async def side_channel(compatibility_hash: str = "0123456789abcdef") -> AsyncIterator[SideChannel]:
    one = SideChannel(compatibility_hash)
    try:
        yield one
    finally:
        await one.close()
