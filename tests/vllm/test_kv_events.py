"""KV events over real sockets: in order, with gaps, after a restart, and such as cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.core.hashing import block_hashes
from tests.vllm.event_source import CLEARED, EventSource, removed, stored
from workers.engine.vllm import kv_events as module
from workers.engine.vllm.kv_events import KvEvents
from workers.engine.vllm.prefixes import ToldPrefixes

A, B, C = [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]
HASHES = block_hashes([*A, *B, *C], 4).tolist()
OTHER = block_hashes(C, 4).tolist()
STORE_A, STORE_B = stored([b"a"], None, A), stored([b"b"], b"a", B)
STORE_C = stored([b"c"], b"b", C)


class Told(ToldPrefixes):
    """Says when something has changed."""

    def __init__(self) -> None:
        super().__init__(4)
        self.heard = asyncio.Event()
        self.cleared = 0

    def block_stored(self, *arguments: Any) -> None:
        super().block_stored(*arguments)
        self.heard.set()

    def block_removed(self, hashes: Any) -> None:
        super().block_removed(hashes)
        self.heard.set()

    def all_cleared(self) -> None:
        self.cleared += 1
        super().all_cleared()
        self.heard.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.heard.clear()
                await self.heard.wait()


class Following:
    """A subscriber that runs."""

    def __init__(self, source: EventSource, replay: bool = True) -> None:
        self.told = Told()
        self.events = KvEvents(source.endpoint, source.replay_endpoint if replay else None, self.told)
        self.task = asyncio.create_task(self.events.run())

    async def holds(self, hashes: list[int]) -> None:
        await self.told.until(lambda: self.told.stored() == hashes)

    async def close(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        self.events.close()


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[EventSource]:
    one = EventSource(tmp_path)
    yield one
    await one.close()


@pytest.fixture
async def following(source: EventSource) -> AsyncIterator[Following]:
    one = Following(source)
    await source.subscribed()
    yield one
    await one.close()


async def test_batches_in_order(source: EventSource, following: Following) -> None:
    await source.publish(STORE_A)
    await source.publish(STORE_B, STORE_C)
    await following.holds(HASHES)
    await source.publish(removed([b"c", b"b"]))
    await following.holds(HASHES[:1])
    await source.publish(CLEARED, stored([b"z"], None, C))
    await following.holds(OTHER)
    assert following.events.gaps == 0
    assert source.asked == [0], "asked once, at the start"


async def test_what_was_published_before_is_replayed(source: EventSource) -> None:
    source.make(STORE_A)
    source.make(STORE_B)
    following = Following(source)
    await following.holds(HASHES[:2])
    await source.publish(STORE_C)
    await following.holds(HASHES)
    assert (following.events.gaps, following.told.cleared) == (0, 0)
    await following.close()


async def test_gap_is_filled_by_replay(source: EventSource, following: Following) -> None:
    await source.publish(STORE_A)
    await following.holds(HASHES[:1])
    source.make(STORE_B)
    await source.publish(STORE_C)
    await following.holds(HASHES)
    assert source.asked == [0, 1]
    assert (following.events.gaps, following.told.cleared) == (0, 0)


async def test_gap_beyond_the_buffer_starts_the_index_afresh(tmp_path: Path) -> None:
    source = EventSource(tmp_path, buffered=1)
    following = Following(source)
    await source.subscribed()
    await source.publish(STORE_A)
    await following.holds(HASHES[:1])
    source.make(STORE_B)
    source.make(STORE_C)
    await source.publish(stored([b"z"], None, C))
    await following.holds(OTHER)
    assert (following.events.gaps, following.told.cleared) == (2, 1)
    await source.publish(stored([b"c2"], b"c", C), stored([b"y"], b"z", A))
    await following.holds([*OTHER, *block_hashes([*C, *A], 4).tolist()[1:]])
    await following.close()
    await source.close()


async def test_start_behind_a_long_history(tmp_path: Path) -> None:
    source = EventSource(tmp_path, buffered=2)
    for event in (STORE_A, STORE_B, removed([b"b"]), stored([b"z"], None, C)):
        source.make(event)
    following = Following(source)
    await following.holds(OTHER)
    assert following.events.gaps == 2
    await following.close()
    await source.close()


async def test_gap_without_a_replay_endpoint(source: EventSource) -> None:
    following = Following(source, replay=False)
    await source.subscribed()
    await source.publish(STORE_A)
    await following.holds(HASHES[:1])
    source.make(STORE_B)
    await source.publish(stored([b"z"], None, C))
    await following.holds(OTHER)
    assert (following.events.gaps, source.asked) == (1, [])
    await following.close()


async def test_replay_that_is_silent(
    source: EventSource, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.publish(STORE_A)
    await following.holds(HASHES[:1])
    monkeypatch.setattr(module, "REPLAY_S", 0.01)
    source.mute = True
    source.make(STORE_B)
    await source.publish(stored([b"z"], None, C))
    await following.holds(OTHER)
    assert following.events.gaps == 1


async def test_batches_that_come_twice(source: EventSource, following: Following) -> None:
    first = await source.publish(STORE_A)
    second = await source.publish(STORE_B)
    for batch in (first, second, second):
        await source.send(batch)
    await source.publish(STORE_C)
    await following.holds(HASHES)
    assert (following.events.gaps, following.told.cleared) == (0, 0)


async def test_batches_that_come_live_after_their_replay(source: EventSource, tmp_path: Path) -> None:
    """Subscribed before the first batch, and replayed all of them: the live ones behind are no restart."""
    told = Told()
    events = KvEvents(source.endpoint, source.replay_endpoint, told)
    await source.subscribed()
    for event in (STORE_A, STORE_B, removed([b"b"])):
        await source.publish(event)
    task = asyncio.create_task(events.run())
    await source.publish(STORE_B, STORE_C)
    await told.until(lambda: told.stored() == HASHES)
    assert (events.gaps, told.cleared) == (0, 0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    events.close()


@pytest.mark.parametrize(("before", "missed"), [(1, 0), (2, 0), (3, 0), (2, 1), (3, 1)])
async def test_restart_of_the_publisher(tmp_path: Path, before: int, missed: int) -> None:
    """Numbers start over, later in time; the first of them may have gone by before the socket was connected again."""
    source = EventSource(tmp_path)
    following = Following(source)
    await source.subscribed()
    for event in (STORE_A, STORE_B, STORE_C)[:before]:
        await source.publish(event)
    await following.holds(HASHES[:before])
    await source.close()
    again = EventSource(tmp_path, time_s=2000.0)
    await again.subscribed()
    for _ in range(missed):
        again.make(stored([b"y"], None, B))
    await again.publish(stored([b"z"], None, C))
    expected = [*block_hashes(B, 4).tolist() * missed, *OTHER]
    await following.holds(expected)
    assert (following.told.cleared, following.events.gaps) == (1, 0)
    await again.publish(removed([b"z"]))
    await following.holds(expected[:-1])
    await following.close()
    await again.close()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x00",
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode([1.0, None]),
        msgspec.msgpack.encode([1.0, "text"]),
        msgspec.msgpack.encode([1.0, [7, "x", []]]),
        msgspec.msgpack.encode({"ts": 1.0, "events": []}),
        msgspec.msgpack.encode([1.0, [{"no": "type"}]]),
        msgspec.msgpack.encode([1.0, [{"type": "BlockStored"}]]),
        msgspec.msgpack.encode([1.0, [{"type": "Of a later version"}]]),
        msgspec.msgpack.encode([1.0, [stored([[1]], None, A)]]),
        msgspec.msgpack.encode([1.0, [stored([b"q"], None, [1, 2, 3, -4])]]),
        msgspec.msgpack.encode([1.0, [stored([b"q"], None, ["a", "b", "c", "d"])]]),
        msgspec.msgpack.encode([1.0, [stored([b"q"], [1], A)]]),
        msgspec.msgpack.encode([1.0, [stored([b"q"], None, None)]]),  # type: ignore[arg-type]
        msgspec.msgpack.encode([1.0, [removed(None)]]),  # type: ignore[arg-type]
    ],
)
async def test_payload_that_cannot_be_read(source: EventSource, following: Following, payload: bytes) -> None:
    await source.publish(STORE_A)
    await source.send(source.make_raw(payload))
    await source.send(source.make_raw(payload))
    await source.publish(STORE_B)
    await following.holds(HASHES[:2])
    assert following.events.gaps == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"extra_keys": [("salt",)]},
        {"medium": "STORAGE"},
        {"group_idx": 1},
        {"lora_name": "adapter"},
        {"block_size": 8},
    ],
)
async def test_blocks_that_a_router_could_not_use(
    source: EventSource, following: Following, changes: dict[str, Any]
) -> None:
    await source.publish(stored([b"s"], None, A, **changes), stored([b"t"], b"s", B))
    await source.publish(stored([b"z"], None, C))
    await following.holds(OTHER)


@pytest.mark.parametrize(
    "changes", [{"extra_keys": [None]}, {"extra_keys": None}, {"medium": "CPU"}, {"medium": None}, {"group_idx": 0}]
)
async def test_blocks_that_a_router_can_use(source: EventSource, following: Following, changes: dict[str, Any]) -> None:
    await source.publish(stored([b"a"], None, A, **changes))
    await following.holds(HASHES[:1])


async def test_removal_from_another_medium_removes_nothing(source: EventSource, following: Following) -> None:
    await source.publish(STORE_A, removed([b"a"], medium="STORAGE"), STORE_B)
    await following.holds(HASHES[:2])
