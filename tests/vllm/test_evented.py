"""A worker whose engine is a server, as front doors see it: messages in, one message a turn out."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import AsyncIterator, Callable

import pytest

from pd.v1 import worker_pb2 as pb
from tests.vllm.driver import LEASE_S, Driven
from tests.vllm.server_double import Behave, answer
from tests.vllm.test_links import FACTS
from workers.engine.base import Emission, Key
from workers.engine.vllm.links import Identity, VllmLinks
from workers.engine.vllm.nixl import NixlHandoff
from workers.process import evented as module
from workers.process.evented import EventedLoop

PROMPT = [3, 1, 4, 1, 5, 9]


class Door:
    """A front door: everything that the worker tells it."""

    def __init__(self, loop: EventedLoop) -> None:
        self.loop = loop
        self.heard: list[pb.FromWorker] = []
        self.changed = asyncio.Event()
        loop.opened("front", self.send)

    def send(self, data: bytes) -> None:
        self.heard.append(pb.FromWorker.FromString(data))
        self.changed.set()

    def tell(self, **kind: pb.Submit | pb.Reserve | pb.Attach | pb.Key) -> None:
        self.loop.received("front", pb.ToWorker(**kind))

    def submit(self, name: str, phase: int = pb.PHASE_BOTH, most: int = 8) -> pb.Key:
        key = pb.Key(request_id=name)
        sampling = pb.SamplingParameters(max_tokens=most, temperature=0.0, top_p=1.0)
        tokens = array("I", PROMPT).tobytes()
        self.tell(submit=pb.Submit(key=key, tokens=tokens, sampling=sampling, phase=phase))
        return key

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def tokens(self) -> list[int]:
        """Of one request, in the order of their indices."""
        found: dict[int, int] = {}
        for message in self.heard:
            if message.WhichOneof("kind") == "step":
                for item in message.step.items:
                    found |= {item.first_index + i: token for i, token in enumerate(item.tokens)}
                words = array("I", message.step.plain)
                found |= {words[i + 1]: words[i + 2] for i in range(0, len(words), 3)}
        assert sorted(found) == list(range(len(found)))
        return [found[i] for i in range(len(found))]

    def items(self) -> list[pb.Tokens]:
        return [item for m in self.heard if m.WhichOneof("kind") == "step" for item in m.step.items]

    def refused(self) -> list[tuple[str, str]]:
        return [(m.refused.code, m.refused.message) for m in self.heard if m.WhichOneof("kind") == "refused"]

    def kinds(self) -> list[str | None]:
        return [m.WhichOneof("kind") for m in self.heard]


def looped(driven: Driven) -> EventedLoop:
    links = VllmLinks(Identity(driven.double.url, FACTS), driven.client, NixlHandoff())
    return EventedLoop(driven.engine, links)


@pytest.fixture
async def door(driven: Driven) -> AsyncIterator[Door]:
    loop = looped(driven)
    yield Door(loop)
    loop.stop()


async def test_request_from_submit_to_its_last_token(driven: Driven, door: Door) -> None:
    door.submit("a")
    await door.until(lambda: any(item.finish for item in door.items()))
    assert door.tokens() == answer(PROMPT, 8)
    assert door.items()[-1].finish == "length"
    assert not door.loop.sessions.owner


async def test_what_comes_in_one_turn_goes_out_in_one_message(driven: Driven, door: Door) -> None:
    driven.double.script.append(Behave(stop_after=1))
    key = door.submit("a")
    await door.until(lambda: len(door.tokens()) == 1)
    before = len(door.heard)
    for index in (1, 2, 3):
        driven.engine.emit(Emission(Key("front/a", 0), index, [index]))
    assert len(door.heard) == before, "not before the turn is over"
    await door.until(lambda: len(door.tokens()) == 4)
    assert door.kinds()[before:] == ["step"]
    door.tell(cancel=key)


def in_order(step: pb.Step) -> list[int]:
    """Indices as a front door takes them: first the plain ones, then the items."""
    words = array("I", step.plain)
    return [words[i + 1] for i in range(0, len(words), 3)] + [item.first_index for item in step.items]


async def test_no_token_overtakes_another_of_its_request(driven: Driven, door: Door) -> None:
    driven.double.script.append(Behave(stop_after=1))
    key = door.submit("a")
    await door.until(lambda: len(door.tokens()) == 1)
    for index, tokens in ((1, [1]), (2, [2, 3]), (4, [4]), (5, [5])):
        driven.engine.emit(Emission(Key("front/a", 0), index, tokens))
    await door.until(lambda: len(door.tokens()) == 6)
    assert in_order(door.heard[-1].step) == [1, 2, 4, 5]
    door.tell(cancel=key)


@pytest.mark.parametrize(("step_time_s", "slept_s"), [(0.0, 0.0), (0.008, 0.002), (1.0, 0.004)])
async def test_tokens_are_gathered_for_a_share_of_a_step(
    driven: Driven, door: Door, monkeypatch: pytest.MonkeyPatch, step_time_s: float, slept_s: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    driven.engine.stats.step_time_s = step_time_s
    driven.double.script.append(Behave(stop_after=1))
    key = door.submit("a")
    await door.until(door.tokens)
    assert slept and set(slept) == {slept_s}
    door.tell(cancel=key)


async def test_status_names_workers_from_which_nothing_can_be_pulled(door: Door) -> None:
    assert not door.loop.status().unusable_peers
    links = door.loop.links
    assert isinstance(links, VllmLinks)
    links.problems |= {"prefill-1@7": "other version", "prefill-0@5": "other dtype"}
    assert list(door.loop.status().unusable_peers) == ["prefill-0", "prefill-1"]


async def test_handoff_between_two_workers(pair: tuple[Driven, Driven]) -> None:
    prefill, decode = (Door(looped(driven)) for driven in pair)
    key = prefill.submit("a", pb.PHASE_PREFILL)
    decode.tell(reserve=pb.Reserve(key=key, tokens=len(PROMPT)))
    await prefill.until(prefill.items)
    (first,) = prefill.items()
    assert first.HasField("lease")
    sampling = pb.SamplingParameters(max_tokens=8, temperature=0.0, top_p=1.0)
    tokens = array("I", [*PROMPT, *first.tokens]).tobytes()
    attach = pb.Attach(key=key, tokens=tokens, first_index=1, sampling=sampling, source=first.lease)
    decode.tell(attach=attach)
    await decode.until(lambda: any(item.finish for item in decode.items()))
    assert "pulled" in decode.kinds()
    assert decode.kinds().index("pulled") < decode.kinds().index("step")
    last = [t for item in decode.items() for t in item.tokens][-1]
    assert last == answer(PROMPT, 8)[-1]
    prefill.tell(release=key)
    for driven in pair:
        assert driven.engine.stats.kv_used_blocks == 0
    assert decode.loop.status().kv_pulls == 1


async def test_refusal_and_cancel(driven: Driven, door: Door) -> None:
    driven.double.script.extend([Behave(status=503), Behave(stop_after=1)])
    door.submit("a")
    await door.until(door.refused)
    assert door.refused() == [("full", "vLLM answered 503: no such thing")]
    assert not door.loop.sessions.owner
    key = door.submit("b")
    await door.until(door.tokens)
    door.tell(cancel=key)
    await driven.double.until(lambda: driven.double.aborted == ["b-0-prefill"])
    assert not door.loop.sessions.owner


async def test_front_door_that_comes_again_has_given_its_requests_up(driven: Driven, door: Door) -> None:
    driven.double.script.append(Behave(stop_after=1))
    door.submit("a")
    await door.until(door.tokens)
    again = Door(door.loop)
    await driven.double.until(lambda: driven.double.aborted == ["a-0-prefill"])
    assert again.kinds() == ["cache"]


async def test_reservation_that_runs_out_is_refused_by_housekeeping(driven: Driven, door: Door) -> None:
    door.tell(reserve=pb.Reserve(key=pb.Key(request_id="a"), tokens=9))
    now_s = time.monotonic()
    door.loop._housekeeping(now_s)
    assert door.refused() == []
    door.loop._housekeeping(now_s + LEASE_S + 1)
    assert door.refused() == [("expired", "the lease or reservation ran out")]
    assert driven.engine.stats.reserved_blocks == 0


async def test_ticks_push_status_until_stopped(driven: Driven, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.0)
    ticks: list[float] = []
    enough = asyncio.Event()

    def housekeeping(now_s: float) -> None:
        ticks.append(now_s)
        if len(ticks) == 3:
            enough.set()

    monkeypatch.setattr(door.loop, "_housekeeping", housekeeping)
    door.loop.start()
    await asyncio.wait_for(enough.wait(), 10)
    door.loop.stop()
    count = len(ticks)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(ticks) == count


async def test_commands_of_other_threads_run_on_the_loop(door: Door) -> None:
    ran: list[int] = []
    done = asyncio.Event()

    def command() -> None:
        ran.append(threading.get_ident())
        done.set()

    thread = threading.Thread(target=lambda: door.loop.post(command))
    thread.start()
    await asyncio.wait_for(done.wait(), 10)
    thread.join()
    assert ran == [threading.get_ident()]
    door.loop.post(command)
    assert len(ran) == 2, "at once where it is the loop's own thread"
    assert door.loop.ask(lambda: 7).result(0) == 7


async def test_pulse_shows_a_server_that_stands_still(driven: Driven, door: Door) -> None:
    driven.engine.stats.steps = 5
    assert (door.loop.pulse().steps, door.loop.pulse().step_s) == (5, 0.0)
    driven.double.script.append(Behave(silent=True))
    key = door.submit("a")
    driven.engine._moved_s -= 100
    assert door.loop.pulse().step_s > 99
    door.tell(cancel=key)
    assert door.loop.pulse().step_s == 0.0
