"""A double of vLLM 0.32's publisher of KV events: a PUB socket and a ROUTER that replays what its buffer still has."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import zmq
import zmq.asyncio

END = (-1).to_bytes(8, "big", signed=True)


def stored(hashes: list[Any], parent: Any, tokens: list[int], size: int = 4, **changes: Any) -> dict[str, Any]:
    event = {"type": "BlockStored", "block_hashes": hashes, "parent_block_hash": parent, "token_ids": tokens}
    return event | {"block_size": size, "lora_id": None, "medium": "GPU", "lora_name": None} | changes


def removed(hashes: list[Any], **changes: Any) -> dict[str, Any]:
    return {"type": "BlockRemoved", "block_hashes": hashes, "medium": "GPU"} | changes


CLEARED = {"type": "AllBlocksCleared"}


class EventSource:
    """One run of a publisher at `ipc://DIRECTORY/events`, with batches dated `time_s` and later.

    An XPUB is a PUB that also says when somebody has subscribed.
    """

    def __init__(self, directory: Path, buffered: int = 100, time_s: float = 1000.0) -> None:
        self.endpoint, self.replay_endpoint = f"ipc://{directory}/events", f"ipc://{directory}/replay"
        self.asked: list[int] = []
        """First batches of the replays that were asked for."""
        self.mute = False
        """Answer no replay."""
        self._context = zmq.asyncio.Context()
        self._publisher = self._context.socket(zmq.XPUB)
        self._publisher.bind(self.endpoint)
        self._router = self._context.socket(zmq.ROUTER)
        self._router.bind(self.replay_endpoint)
        self._buffer: deque[tuple[int, bytes]] = deque(maxlen=buffered)
        self._next = 0
        self._time_s = time_s
        self._task = asyncio.create_task(self._answer())

    def make(self, *events: dict[str, Any]) -> tuple[int, bytes]:
        """The next batch, which is kept for replay and published to nobody."""
        self._time_s += 1
        return self.make_raw(msgspec.msgpack.encode([self._time_s, list(events), 0]))

    def make_raw(self, payload: bytes) -> tuple[int, bytes]:
        batch = (self._next, payload)
        self._next += 1
        self._buffer.append(batch)
        return batch

    async def send(self, batch: tuple[int, bytes]) -> None:
        await self._publisher.send_multipart((b"", batch[0].to_bytes(8, "big"), batch[1]))

    async def publish(self, *events: dict[str, Any]) -> tuple[int, bytes]:
        batch = self.make(*events)
        await self.send(batch)
        return batch

    async def subscribed(self) -> None:
        """Wait for a subscription."""
        assert await self._publisher.recv() == b"\x01"

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._context.destroy(linger=0)

    async def _answer(self) -> None:
        while True:
            client, empty, first = await self._router.recv_multipart()
            self.asked.append(int.from_bytes(first, "big"))
            if self.mute:
                continue
            for number, payload in self._buffer:
                if number >= self.asked[-1]:
                    await self._router.send_multipart((client, empty, b"", number.to_bytes(8, "big"), payload))
            await self._router.send_multipart((client, b"", b"", END, b""))
