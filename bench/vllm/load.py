"""Clients that stream completions one after another, and what they saw."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson


@dataclass(slots=True)
class Seen:
    """Times in seconds. `handoff_s` between the first two events of a stream, `gaps_s` between the others; `texts` by prompt number."""

    ttft_s: list[float] = field(default_factory=list)
    handoff_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    took_s: float = 0.0


def requests_of(seed: int, count: int, prompt_tokens: int, max_tokens: int, model: str) -> list[dict[str, Any]]:
    """Bodies with random prompts of about `prompt_tokens`, no two alike: nothing is answered from a prefix cache."""
    draw = random.Random(seed)
    lengths = [draw.randrange(prompt_tokens // 2, 3 * prompt_tokens // 2) for _ in range(count)]
    return [
        {
            "model": model,
            "prompt": [draw.randrange(10, 1500) for _ in range(length)],
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }
        for length in lengths
    ]


async def drive(url: str, bodies: list[dict[str, Any]], clients: int) -> Seen:
    """All requests by `clients` clients at once. Raises RuntimeError for an answer that is not whole."""
    seen, waiting = Seen(), list(enumerate(bodies))[::-1]
    started_s = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            while waiting:
                number, body = waiting.pop()
                seen.texts[number] = await _stream(session, url, body, seen)

        await asyncio.gather(*(client() for _ in range(clients)))
    seen.took_s = time.perf_counter() - started_s
    return seen


async def _stream(session: aiohttp.ClientSession, url: str, body: dict[str, Any], seen: Seen) -> str:
    sent_s = last_s = time.perf_counter()
    text, ended, events = "", False, 0
    async with session.post(f"{url}/v1/completions", data=orjson.dumps(body), headers=_JSON) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {await answer.text()}")
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                ended = ended or line.startswith(b"data: [DONE]")
                continue
            choices = orjson.loads(line[6:])["choices"]
            if not choices or not choices[0]["text"]:
                continue
            now_s = time.perf_counter()
            (seen.ttft_s, seen.handoff_s, seen.gaps_s)[min(events, 2)].append(now_s - last_s)
            events += 1
            last_s = now_s
            text += choices[0]["text"]
    if not ended:
        raise RuntimeError(f"{url}: the stream of {time.perf_counter() - sent_s:.1f} s has no end")
    seen.tokens += body["max_tokens"]
    seen.whole_s.append(last_s - sent_s)
    return text


_JSON = {"Content-Type": "application/json"}
