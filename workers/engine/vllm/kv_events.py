"""vLLM's KV events over ZMQ: batches with sequence numbers, a gap filled by replay, or, where the buffer no longer has it, a fresh start.

Source: vLLM 0.32, `distributed/kv_events.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import msgspec
import zmq
import zmq.asyncio

log = logging.getLogger(__name__)

END = -1
REPLAY_S = 5.0
EVERY_S = 0.05
"""Between two looks at what has come: front doors hear of it no sooner, and to be woken for each batch takes longer than to read it."""
HIGH_WATER = 100_000
MOST_BYTES = 64 << 20


class CacheListener(Protocol):
    """Hears what the cache does; see ToldPrefixes."""

    def block_stored(
        self, hashes: Sequence[Hashable], parent: Hashable | None, tokens: Sequence[int], size: int
    ) -> None: ...
    def block_removed(self, hashes: Sequence[Hashable]) -> None: ...
    def all_cleared(self) -> None: ...


class KvEvents:
    """Subscribes to `endpoint`; asks `replay_endpoint`, where there is one, for what was missed."""

    def __init__(self, endpoint: str, replay_endpoint: str | None, listener: CacheListener, topic: str = "") -> None:
        self._listener = listener
        self._replay_endpoint = replay_endpoint
        self._next = 0
        self._dated = -math.inf
        """The server's time of the latest batch."""
        self.gaps = 0
        """Batches that were missed and could not be had again."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
        self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._socket.connect(endpoint)

    async def run(self) -> str:
        """Until cancelled. What was published before we came is replayed."""
        await self._catch_up(None)
        while True:
            with contextlib.suppress(zmq.Again):
                while True:
                    _, number, payload = self._socket.recv_multipart(zmq.NOBLOCK)
                    await self.received(int.from_bytes(number, "big", signed=True), payload)
            await asyncio.sleep(EVERY_S)

    async def received(self, number: int, payload: bytes) -> None:
        """One batch, as published."""
        if number < self._next and _dated(payload) > self._dated:
            log.warning("KV events start over: the server was restarted")
            self._listener.all_cleared()
            self._next = 0
        if number < self._next:
            return  # came by replay before
        if number > self._next:
            await self._catch_up(number)
        self._apply(payload)
        self._next = number + 1

    def close(self) -> None:
        self._context.destroy(linger=0)

    async def _catch_up(self, until: int | None) -> None:
        """Apply batches from the next one to `until` (not included; all there are for None), or start afresh."""
        wanted = self._next
        for number, payload in await self._replay(wanted):
            if number < self._next or (until is not None and number >= until):
                continue
            if number > self._next:
                self._lost(number - self._next)
            self._apply(payload)
            self._next = number + 1
        if until is not None and self._next < until:
            self._lost(until - self._next)
            self._next = until

    def _lost(self, batches: int) -> None:
        """What they said is not known, so neither is what the cache holds."""
        log.warning("%d batches of KV events are lost: the index of this worker starts afresh", batches)
        self.gaps += batches
        self._listener.all_cleared()

    async def _replay(self, first: int) -> list[tuple[int, bytes]]:
        if self._replay_endpoint is None:
            return []
        found = []
        with zmq.asyncio.Context.shadow(self._context).socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(self._replay_endpoint)
            await socket.send_multipart((b"", first.to_bytes(8, "big")))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPLAY_S):
                    while True:
                        _, _, number, payload = await socket.recv_multipart()
                        if (sequence := int.from_bytes(number, "big", signed=True)) == END:
                            break
                        found.append((sequence, payload))
        return found

    def _apply(self, payload: bytes) -> None:
        try:
            dated, events, *_ = msgspec.msgpack.decode(payload)
            self._dated = max(self._dated, dated)
            for event in events:
                self._event(event)
        except (msgspec.DecodeError, ValueError, KeyError, TypeError, OverflowError) as error:
            log.warning("KV events that cannot be read are left out: %s", error)

    def _event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "AllBlocksCleared":
            self._listener.all_cleared()
        elif event.get("group_idx") or event.get("medium") not in (None, "GPU", "CPU") or event.get("lora_name"):
            return  # not the KV of every layer, not in the server's own memory, or of another model
        elif kind == "BlockStored":
            if any(event.get("extra_keys") or ()):
                return  # salted or multimodal: equal tokens are not equal KV
            self._listener.block_stored(
                event["block_hashes"], event["parent_block_hash"], event["token_ids"], event["block_size"]
            )
        elif kind == "BlockRemoved":
            self._listener.block_removed(event["block_hashes"])


def _dated(payload: bytes) -> float:
    """The server's time of a batch, in seconds; -inf for one that cannot be read."""
    try:
        return float(msgspec.msgpack.decode(payload)[0])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return -math.inf
