"""Clients that stream greedy answers without end and hold every chunk against the undisturbed run."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

QUESTIONS = tuple(f"count to {n}" for n in (150, 60, 170, 30, 140, 90, 190, 120))
MAX_TOKENS = 450
AGAIN_S = 0.1
NOTABLE_S = 0.1
"""Silences from this length on are remembered."""


@dataclass(slots=True)
class Tally:
    """What the clients saw. `wrong` lists answers that differ from the undisturbed run."""

    completed: int = 0
    chunks: int = 0
    broken: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


class Silence(NamedTuple):
    """A client that waits for a token heard nothing from `start_s` to `end_s` (monotonic)."""

    start_s: float
    end_s: float


@dataclass(slots=True)
class Stream:
    """One client. `last_s` is when its present silence began."""

    last_s: float = 0.0
    waits: bool = False
    silences: list[Silence] = field(default_factory=list)

    def asks(self) -> None:
        """It begins to wait, unless it has been waiting since a connection broke."""
        if not self.waits:
            self.waits, self.last_s = True, time.monotonic()

    def heard(self) -> None:
        now_s = time.monotonic()
        if now_s - self.last_s > NOTABLE_S:
            self.silences.append(Silence(self.last_s, now_s))
        self.last_s = now_s


class Crowd:
    """`size` clients, each asking one question after another. A broken connection is asked again from the start.

    `pause_s` is for how long each waits between two questions, on average.
    """

    def __init__(self, url: str, size: int, seed: int, key: str = "", pause_s: float = 0.0) -> None:
        self.tally = Tally()
        self.streams = [Stream() for _ in range(size)]
        self._url, self._seed, self._pause_s = url, seed, pause_s
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._expected: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Crowd:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        for question in QUESTIONS:
            self._expected[question] = await self._undisturbed(question)
        self._tasks = [asyncio.create_task(self._ask(i, s)) for i, s in enumerate(self.streams)]
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        """Let every stream end; after an error, end it."""
        self._stopping = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)
        await self._session.close()

    def silences(self) -> list[Silence]:
        """All that lasted for more than NOTABLE_S, oldest first."""
        return sorted(silence for stream in self.streams for silence in stream.silences)

    def check(self) -> None:
        """Raises what a client failed with."""
        for task in self._tasks:
            if task.done() and not self._stopping:
                task.result()

    async def _undisturbed(self, question: str) -> str:
        answer = await self._answer(question, Stream(), None)
        assert answer is not None, "the undisturbed run failed"
        return answer

    async def _ask(self, number: int, stream: Stream) -> None:
        rng = random.Random(f"{self._seed}/{number}")
        for _ in itertools.count():
            if self._stopping:
                return
            question = rng.choice(QUESTIONS)
            answer: str | None = None
            while answer is None:
                stream.asks()
                try:
                    answer = await self._answer(question, stream, self._expected[question])
                except (aiohttp.ClientError, ConnectionError, TimeoutError):
                    self.tally.broken += 1
                if answer is None:
                    await asyncio.sleep(AGAIN_S)
            stream.waits = False
            self.tally.completed += 1
            if self._pause_s:
                await asyncio.sleep(rng.expovariate(1 / self._pause_s))

    async def _answer(self, question: str, stream: Stream, expected: str | None) -> str | None:
        """The whole answer; None where it was refused with 429 or 503. A chunk that does not follow is noted as wrong."""
        body = {
            "model": "demo",
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "stream": True,
            "max_tokens": MAX_TOKENS,
        }
        text, finished = "", False
        async with self._session.post(f"{self._url}/v1/chat/completions", json=body) as response:
            if response.status in (429, 503):
                self.tally.refused += 1
                return None
            if response.status != 200:
                self.tally.wrong.append(f"{question}: status {response.status}: {await response.text()}")
                return ""
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    finished = finished or line.startswith(b"data: [DONE]")
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    if event["error"]["code"] == "shutting_down":
                        raise ConnectionError
                    self.tally.wrong.append(f"{question}: {event['error']['message']}")
                    return text
                piece = "".join(choice["delta"].get("content") or "" for choice in event["choices"])
                stream.heard()
                self.tally.chunks += 1
                if expected is not None and not expected.startswith(piece, len(text)):
                    self.tally.wrong.append(f"{question}: {piece!r} after {text[-40:]!r}")
                    return text + piece
                text += piece
        if not finished:
            raise ConnectionError("the stream ended before its end")
        if expected is not None and text != expected:
            self.tally.wrong.append(f"{question}: {len(text)} of {len(expected)} characters")
        return text
