"""A front door's connection to a worker that misbehaves."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from orchestrator.core.frames import Deframer, frame
from orchestrator.frontend.link import WorkerLink
from pd.v1 import worker_pb2 as pb

WELCOME = frame(pb.FromWorker(welcome=pb.WorkerDescription(name="w0", incarnation=1)).SerializeToString())


def pulse(step_s=0.0):
    return frame(pb.FromWorker(pulse=pb.Pulse(step_s=step_s)).SerializeToString())


class Events:
    """Counts; `broken` cannot take the loss of a link, as with a policy that raises."""

    def __init__(self, broken=False):
        self.ups, self.downs, self.messages = 0, [], []
        self.broken = broken

    def link_up(self, link):
        self.ups += 1

    def link_down(self, link, why):
        self.downs.append(why)
        if self.broken:
            raise RuntimeError("a policy failed")

    def link_message(self, link, message):
        self.messages.append(message)


@asynccontextmanager
async def worker(answer, **limits):
    """A worker that does `answer(reader, writer)` for every connection, and a link to it."""

    async def serve(reader, writer):
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    events = limits.pop("events", None) or Events()
    link = WorkerLink("w0", f"127.0.0.1:{server.sockets[0].getsockname()[1]}", 1, "test", events, **limits)
    try:
        yield link, events
    finally:
        await link.close()
        server.close()


async def until(condition, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def hang_up(reader, writer):
    writer.write(WELCOME)
    await writer.drain()


async def stay_silent(reader, writer):
    writer.write(WELCOME)
    await reader.read()
    await asyncio.Event().wait()


async def test_it_dials_again_whatever_its_loss_led_to():
    async with worker(hang_up, events=Events(broken=True)) as (_, events):
        await until(lambda: events.ups >= 3)


async def test_a_silent_worker_is_given_up():
    async with worker(stay_silent, silent_s=0.5) as (link, events):
        await until(lambda: events.downs)
        assert "silent" in events.downs[0]
        await until(lambda: events.ups >= 2)
        assert link.connected


async def test_a_worker_that_pulses_is_kept():
    async def beat(reader, writer):
        writer.write(WELCOME)
        while True:
            writer.write(pulse())
            await asyncio.sleep(0.05)

    async with worker(beat, silent_s=0.5) as (link, events):
        await until(lambda: events.ups)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await until(lambda: events.downs)
        assert link.connected


async def test_a_step_without_end_is_a_hang():
    async def stuck(reader, writer):
        writer.write(WELCOME + pulse(3.0) + pulse(61.0))
        await reader.read()

    async with worker(stuck) as (_, events):
        await until(lambda: events.downs)
        assert events.downs[0] == "hung: one engine step lasts 61 s"


async def test_a_process_that_never_welcomes_is_no_worker():
    dialled = []

    async def stopped(reader, writer):
        dialled.append(1)
        await asyncio.Event().wait()

    async with worker(stopped, silent_s=0.3) as (link, events):
        await until(lambda: len(dialled) >= 2)
        assert not events.ups
        assert not link.connected


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(pb.FromWorker(pulse=pb.Pulse()).SerializeToString()),
        frame(b"\xff\xff\xff"),
        frame(pb.FromWorker(welcome=pb.WorkerDescription(name="w0", incarnation=2)).SerializeToString()),
    ],
    ids=["http", "no welcome", "no message", "another incarnation"],
)
async def test_what_is_no_worker_is_hung_up_on(garbage):
    ended = []

    async def answer(reader, writer):
        writer.write(garbage)
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            pass
        ended.append(1)

    async with worker(answer) as (link, events):
        await until(lambda: len(ended) >= 2)
        assert not events.ups
        assert not link.connected


async def test_messages_of_one_turn_leave_together_and_in_order():
    got, reads = [], []

    async def collect(reader, writer):
        writer.write(WELCOME)
        deframer = Deframer()
        while data := await reader.read(1 << 16):
            reads.append(data)
            got.extend(pb.ToWorker.FromString(message) for message in deframer.feed(data))

    async with worker(collect) as (link, events):
        await until(lambda: events.ups)
        for i in range(100):
            link.send(pb.ToWorker(cancel=pb.Key(request_id=str(i))))
        await until(lambda: len(got) == 101)
        assert got[0].hello.front_door == "test"
        assert [m.cancel.request_id for m in got[1:]] == [str(i) for i in range(100)]
        assert len(reads) < 10
