"""The load client, a process of its own: `python -m bench.frontdoor.load JOB.json`.

Times every token where it is read, and checks every stream: the text it must have, one event per token, `[DONE]` at the end.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.frontdoor.job import Job, Sent
from bench.peers.journal import FIRST_ID, number_to_ids

HEAD = "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
PROMPTS = 64
"""Different prompts that a run draws from; their first two tokens always differ."""
TIMEOUT_S = 60.0
Clock = Callable[[], float]


class Bodies:
    """Request bytes, prepared so that sending costs little."""

    def __init__(self, job: Job) -> None:
        self._job = job
        draw = random.Random(job.seed)
        self._tails = [
            ",".join(str(draw.randrange(FIRST_ID, job.vocabulary)) for _ in range(job.prompt_tokens - 2))
            for _ in range(PROMPTS)
        ]

    def request(self, number: int, tokens: int, stream: bool, **extra: Any) -> bytes:
        """A whole HTTP request."""
        job = self._job
        options: dict[str, Any] = {
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": stream,
            **extra,
        }
        fields = orjson.dumps({"model": "demo", **options})[1:-1].decode()
        if job.text_prompt:
            prompt = orjson.dumps(f"{number} {job.text_prompt}").decode()
        else:
            high, low = number_to_ids(number)
            prompt = f"[{high},{low},{self._tails[number % PROMPTS]}]"
        if job.path == "/generate":
            sampling = {"max_new_tokens": tokens, "temperature": 0, "ignore_eos": True}
            key = "text" if job.text_prompt else "input_ids"
            body = f'{{"{key}":{prompt},"sampling_params":{orjson.dumps(sampling).decode()},"stream":true}}'
        else:
            body = f'{{{fields},"prompt":{prompt}}}'
        return (HEAD % (job.path, len(body)) + body).encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection. `ask` sends a request; the future gets the body of a plain answer, or None after a stream."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._future: asyncio.Future[bytes] | None = None
        self._sent: Sent | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, sent: Sent | None) -> asyncio.Future[bytes]:
        """`sent` gets the time of each event."""
        assert self._transport is not None
        self._sent = sent
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)
        self._future = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._future

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body
        if self._sent is not None:
            # Times only here; what the events say is looked at when the stream is over.
            now = self._clock()
            times = self._sent.tokens_s
            times.extend([now] * (self._body.count(b"\n\n") - len(times)))

    def on_message_complete(self) -> None:
        assert self._future is not None
        status = self._parser.get_status_code()
        if status != 200:
            self._body = b"HTTP %d: %b" % (status, self._body[:200])
        if not self._future.done():
            self._future.set_result(self._body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_exception(ConnectionError(f"connection closed: {error}"))


def check(body: bytes, sent: Sent, job: Job) -> None:
    """Write into `sent.wrong` what is wrong with a stream; cut `tokens_s` to one time per token."""
    if body.startswith(b"HTTP "):
        sent.wrong = body.decode(errors="replace")
        return
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n")[:-1]]
    if not events or events[-1] != b"[DONE]":
        sent.wrong = f"no [DONE] after {len(events)} events"
        return
    documents = [orjson.loads(event) for event in events[:-1]]
    texts = [d["choices"][0]["text"] if d.get("choices") else "" for d in documents]
    sent.tokens_s = [t for t, text in zip(sent.tokens_s, texts, strict=False) if text]
    if "".join(texts) != job.expected:
        sent.wrong = f"text is {''.join(texts)[:80]!r}…, not {job.expected[:80]!r}…"
    elif len(sent.tokens_s) != job.tokens:
        sent.wrong = f"{len(sent.tokens_s)} events with text, not {job.tokens}"


class Client:
    """All streams of a run."""

    def __init__(self, job: Job, clock: Clock) -> None:
        self._job = job
        self._clock = clock
        self._bodies = Bodies(job)
        self._next = job.first_number
        self.results: list[Sent] = []

    async def connect(self, i: int) -> list[Connection]:
        """The connections of one client: for whole requests or decode, and for prefill if it does that itself."""
        job = self._job
        loop = asyncio.get_running_loop()
        ports = [job.ports[i % len(job.ports)], *([job.prefill_port] if job.prefill_port else [])]
        return [(await loop.create_connection(lambda: Connection(self._clock), "127.0.0.1", p))[1] for p in ports]

    async def run(self, started: Callable[[float], None]) -> list[Sent]:
        """Connect everybody, call `started` with the time, and load until the window is over."""
        connections = [await self.connect(i) for i in range(self._job.streams)]
        start_s = self._clock()
        started(start_s)
        stop_s = self._job.window(start_s)[1]
        await asyncio.gather(*(self._stream(i, connections[i], stop_s) for i in range(self._job.streams)))
        return self.results

    async def _stream(self, i: int, connections: list[Connection], stop_s: float) -> None:
        """One client: wait for its turn, ask at least once and until the time is over."""
        job = self._job
        await asyncio.sleep(job.ramp_s * i / job.streams)
        while True:
            number, self._next = self._next, self._next + 1
            sent = Sent(number, 0.0)
            self.results.append(sent)
            try:
                body = await asyncio.wait_for(self._ask(number, sent, connections), TIMEOUT_S)
            except (ConnectionError, TimeoutError) as error:
                sent.wrong = f"{type(error).__name__} {error}"
                return
            check(body, sent, job)
            if self._clock() >= stop_s:
                return

    async def _ask(self, number: int, sent: Sent, connections: list[Connection]) -> bytes:
        job = self._job
        extra = {}
        if job.prefill_port:
            request = self._bodies.request(number, 1, False, kv_transfer_params={"do_remote_decode": True})
            sent.sent_s = self._clock()
            answer = await connections[1].ask(request, None)
            sent.prefilled_s = self._clock()
            extra = {"kv_transfer_params": orjson.loads(answer)["kv_transfer_params"]}
        request = self._bodies.request(number, job.tokens, True, **extra)
        sent.decode_sent_s = self._clock()
        sent.sent_s = sent.sent_s or sent.decode_sent_s
        return await connections[0].ask(request, sent)


def started(start_s: float) -> None:
    print(f'{{"start_s": {start_s}}}', flush=True)


if __name__ == "__main__":
    job = Job.load(Path(sys.argv[1]))
    results = uvloop.run(Client(job, perf_counter).run(started))
    Path(job.result).write_bytes(orjson.dumps([asdict(sent) for sent in results]))
