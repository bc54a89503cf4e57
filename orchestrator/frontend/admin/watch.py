"""Streams that send a whole list first and again after each change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from pd.v1 import admin_pb2 as pb

PERIOD_S = 0.2
L = TypeVar("L", pb.WorkerList, pb.PoolList, pb.RequestList)


async def changes(read: Callable[[], Awaitable[L]]) -> AsyncIterator[L]:
    """What `read` returns, once, and whenever it differs from what was sent; at most five times a second."""
    sent: bytes | None = None
    while True:
        current = await read()
        content = _content(current)
        if content != sent:
            sent = content
            yield current
        await asyncio.sleep(PERIOD_S)


def _content(message: L) -> bytes:
    """The message without what passing time alone changes."""
    copy = type(message)()
    copy.CopyFrom(message)
    for item in copy.items:
        if "age_s" in item.DESCRIPTOR.fields_by_name:
            item.ClearField("age_s")  # type: ignore[arg-type]
    return copy.SerializeToString(deterministic=True)
