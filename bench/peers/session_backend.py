"""Simulated workers that speak our session wire: the same server code as real ones, with a clock in the engine's place.

`python -m bench.peers.session_backend CONFIG`, CONFIG being the JSON of `bench.peers.setting.Backends`: one prefill worker and
several decode workers in one process. As real ones do, decode workers take commands in between steps and pack the tokens of
a step into one message per front door; all push status every 50 ms under load, list their keys every second, tell which
prefix blocks they cache, and send a pulse.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop

from bench.peers.child import serve_until_eof
from bench.peers.journal import Journal, now_s, request_number
from bench.peers.setting import Backends
from bench.peers.ticks import Ticks
from orchestrator.core.hashing import block_hashes
from pd.v1 import worker_pb2 as pb
from workers.process.sessions import Send
from workers.process.wire import serve_sessions
from workers.process.worker import HEARTBEAT_S, STATUS_S

BLOCK_TOKENS = 16
KV_BLOCKS = 1 << 16
PULL_S = 0.002
"""How long the KV of a prompt takes from worker to worker."""
Key = tuple[str, str, int]


@dataclass(slots=True)
class Running:
    """A request that decodes here."""

    front_door: str
    key: pb.Key
    next_index: int
    max_tokens: int
    emitted_s: list[float]


@dataclass(slots=True)
class Session:
    """A connected front door and the keys it has here."""

    send: Send
    keys: dict[Key, pb.Key] = field(default_factory=dict)


class Worker:
    """SessionEvents of one worker. Everything happens on the event loop."""

    def __init__(self, name: str, setting: Backends, journal: Journal) -> None:
        self.name = name
        self.incarnation = time.time_ns()
        self._setting = setting
        self._journal = journal
        self._sessions: dict[str, Session] = {}
        self._inbox: list[Callable[[], None]] = []
        self._running: dict[Key, Running] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._stored: list[int] = []
        self._removed: list[int] = []
        self._steps = 0
        self._dirty = False
        self._next_beat_s = 0.0

    def describe(self) -> pb.WorkerDescription:
        return pb.WorkerDescription(
            name=self.name,
            incarnation=self.incarnation,
            pid=os.getpid(),
            model="demo",
            engine="simulated",
            device="none",
            block_tokens=BLOCK_TOKENS,
            block_bytes=1 << 16,
            kv_total_blocks=KV_BLOCKS,
            max_model_len=8192,
            transport="simulated",
            transport_metadata=bytes(64),
        )

    def opened(self, front_door: str, send: Send) -> None:
        self._sessions[front_door] = Session(send)
        self._push_status(True)

    def lost(self, front_door: str, send: Send) -> None:
        self._sessions.pop(front_door, None)
        self._running = {key: r for key, r in self._running.items() if r.front_door != front_door}

    def pulse(self) -> pb.Pulse:
        return pb.Pulse(steps=self._steps, step_s=0.0)

    def received(self, front_door: str, message: pb.ToWorker) -> None:
        """At once while idle, after the present step otherwise."""
        received_s = now_s()
        if self._running:
            self._inbox.append(lambda: self._handle(front_door, message, received_s))
        else:
            self._handle(front_door, message, received_s)

    def step(self) -> None:
        """One engine step: what came in meanwhile, then a token for everybody."""
        inbox, self._inbox = self._inbox, []
        for command in inbox:
            command()
        if not self._running:
            return
        self._steps += 1
        self._dirty = True
        emitted_s = now_s()
        plain: dict[str, array[int]] = {}
        items: dict[str, list[pb.Tokens]] = {}
        ids = self._setting.piece_ids
        for key, running in list(self._running.items()):
            running.emitted_s.append(emitted_s)
            index = running.next_index
            running.next_index += 1
            token = ids[index % len(ids)]
            if running.next_index < running.max_tokens:
                plain.setdefault(running.front_door, array("I")).extend((running.key.attempt, index, token))
                continue
            last = pb.Tokens(key=running.key, first_index=index, tokens=[token], finish="length")
            items.setdefault(running.front_door, []).append(last)
            self._drop(key)
        for front_door in plain.keys() | items.keys():
            words = plain.get(front_door)
            step = pb.Step(items=items.get(front_door, ()), plain=words.tobytes() if words is not None else b"")
            self._send(front_door, pb.FromWorker(step=step))

    def housekeeping(self) -> None:
        """Every STATUS_S."""
        beat = time.monotonic() >= self._next_beat_s
        if beat or self._dirty:
            self._dirty = False
            self._push_status(beat)

    def _handle(self, front_door: str, message: pb.ToWorker, received_s: float) -> None:
        kind = message.WhichOneof("kind")
        if kind == "policy" or front_door not in self._sessions:
            return
        self._dirty = True
        session = self._sessions[front_door]
        body = getattr(message, kind or "")
        wire_key: pb.Key = body if kind in ("release", "cancel") else body.key
        key = (front_door, wire_key.request_id, wire_key.attempt)
        match kind:
            case "submit":
                session.keys[key] = wire_key
                entry = self._journal.entry(request_number(array("I", body.tokens)))
                entry.prefill_received_s = received_s
                asyncio.get_running_loop().call_later(self._setting.prefill_s, self._prefilled, key, body)
            case "reserve":
                session.keys[key] = wire_key
            case "attach":
                asyncio.get_running_loop().call_later(PULL_S, self._pulled, key, body, received_s)
            case "release" | "cancel":
                self._drop(key)

    def _prefilled(self, key: Key, submit: pb.Submit) -> None:
        tokens = array("I", submit.tokens)
        self._cache(block_hashes(tokens, BLOCK_TOKENS).tolist())
        blocks = -(-len(tokens) // BLOCK_TOKENS)
        item = pb.Tokens(
            key=submit.key,
            first_index=submit.first_index,
            tokens=[self._setting.piece_ids[submit.first_index]],
            lease=pb.KvBlocks(blocks=range(blocks), generations=[1] * blocks, tokens=len(tokens)),
        )
        self._journal.entry(request_number(tokens)).prefill_sent_s = now_s()
        self._send(key[0], pb.FromWorker(step=pb.Step(items=[item])))

    def _pulled(self, key: Key, attach: pb.Attach, received_s: float) -> None:
        entry = self._journal.entry(request_number(array("I", attach.tokens)))
        entry.decode_received_s = received_s
        blocks = len(attach.source.blocks)
        pulled = pb.Pulled(key=attach.key, bytes=blocks << 16, descriptors=1, seconds=PULL_S)
        self._send(key[0], pb.FromWorker(pulled=pulled))
        self._cache(block_hashes(array("I", attach.tokens), BLOCK_TOKENS).tolist())
        self._running[key] = Running(
            key[0], attach.key, attach.first_index, attach.sampling.max_tokens, entry.emitted_s
        )

    def _cache(self, hashes: list[int]) -> None:
        """Keep these prefix blocks, and let the oldest go when there are too many."""
        for value in hashes:
            if value not in self._cached:
                self._stored.append(value)
            self._cached[value] = None
            self._cached.move_to_end(value)
        while len(self._cached) > KV_BLOCKS:
            self._removed.append(self._cached.popitem(last=False)[0])

    def _drop(self, key: Key) -> None:
        self._running.pop(key, None)
        if (session := self._sessions.get(key[0])) is not None:
            session.keys.pop(key, None)

    def _send(self, front_door: str, message: pb.FromWorker) -> None:
        if (session := self._sessions.get(front_door)) is not None:
            session.send(message.SerializeToString())

    def _push_status(self, with_keys: bool) -> None:
        if with_keys:
            self._next_beat_s = time.monotonic() + HEARTBEAT_S
        stored, self._stored = self._stored, []
        removed, self._removed = self._removed, []
        for session in self._sessions.values():
            if stored or removed:
                session.send(pb.FromWorker(cache=pb.CacheEvents(stored=stored, removed=removed)).SerializeToString())
            status = pb.WorkerStatus(
                running=len(self._running),
                decode_context_tokens=1024 * len(self._running),
                kv_used_blocks=65 * len(self._running),
                kv_total_blocks=KV_BLOCKS,
                steps=self._steps,
                step_time_s=self._setting.step_s,
                keys=session.keys.values() if with_keys else (),
                keys_listed=with_keys,
            )
            session.send(pb.FromWorker(status=status).SerializeToString())


async def serve(setting: Backends) -> None:
    journal = Journal()
    workers = []
    for i in range(1 + setting.decoders):
        worker = Worker("prefill-0" if i == 0 else f"decode-{i - 1}", setting, journal)
        _, port = await serve_sessions(worker, worker.describe, "127.0.0.1")
        Ticks(STATUS_S, STATUS_S * i / (1 + setting.decoders), worker.housekeeping).start()
        if i > 0:
            Ticks(setting.step_s, setting.phase_s(i - 1), worker.step).start()
        workers.append({"name": worker.name, "port": port, "incarnation": worker.incarnation})
    await serve_until_eof({"workers": workers}, journal.take)


if __name__ == "__main__":
    uvloop.run(serve(Backends.load(sys.argv[1])))
