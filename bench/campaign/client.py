"""Cheap clients of the completions API: one connection per request, tokens counted and timed, none of it parsed as JSON."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

EVENT = b'data: {"id"'
END = b"data: [DONE]"
USAGE = re.compile(rb'"completion_tokens":(\d+)')
REASON = "x-llm-d-request-dropped-reason"


@dataclass(slots=True)
class Outcome:
    """What one client saw. Times in seconds from the moment at which it was due; NaN for what did not come.

    `status` is 0 where the connection failed. `whole` is true once the stream has ended as it should.
    """

    due_s: float
    status: int = 0
    refused_s: float = math.nan
    ttft_s: float = math.nan
    tpot_s: float = math.nan
    ended_s: float = math.nan
    tokens: int = 0
    whole: bool = False
    retry_after: str = ""
    reason: str = ""
    error: str = ""


def body(
    rng: random.Random, prompt_tokens: int, max_tokens: int, tier: str = "", stream: bool = True
) -> dict[str, Any]:
    """A request for exactly `max_tokens` tokens after random ones."""
    return {
        "model": "demo",
        "prompt": [rng.randrange(10, 400) for _ in range(prompt_tokens)],
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }


def encode(url: str, request: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    """The HTTP request to `/v1/completions`, as it goes over the wire."""
    data = orjson.dumps(request)
    lines = [f"Host: {urlsplit(url).netloc}", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(["POST /v1/completions HTTP/1.1", *lines, "Connection: close", "", ""]).encode() + data


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of its own."""
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port)


async def ask(url: str, request: bytes, due_s: float) -> Outcome:
    """Send an encoded streaming request and read it to its end; `due_s` on `time.monotonic`. Never raises for what a server does."""
    outcome = Outcome(due_s)
    writer = None
    try:
        reader, writer = await connect(url)
        writer.write(request)
        await _read(reader, outcome)
    except (OSError, EOFError) as error:
        outcome.error = f"{type(error).__name__}: {error}"
    finally:
        outcome.ended_s = time.monotonic() - due_s
        if writer is not None:
            writer.transport.abort()
    return outcome


async def _read(reader: asyncio.StreamReader, outcome: Outcome) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    outcome.status = int(head[9:12])
    if outcome.status != 200:
        outcome.refused_s = time.monotonic() - outcome.due_s
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        outcome.retry_after, outcome.reason = headers.get("retry-after", ""), headers.get(REASON, "")
        outcome.error = (await reader.read()).decode(errors="replace")[:300]
        return
    first_s = last_s = 0.0
    rest = b""
    while not outcome.whole and (data := await reader.read(65536)):
        now_s = time.monotonic()
        lines, _, rest = (rest + data).rpartition(b"\n")
        if events := lines.count(EVENT):
            first_s, last_s = first_s or now_s, now_s
            outcome.tokens += events
        if (at := lines.find(b'data: {"error"')) >= 0:
            outcome.error = lines[at : at + 300].decode(errors="replace")
            return
        outcome.whole = END in lines
        if outcome.whole and (found := USAGE.search(lines)):
            outcome.tokens = int(found[1])  # half a character is a token without an event
    if first_s:
        outcome.ttft_s = first_s - outcome.due_s
        outcome.tpot_s = (last_s - first_s) / max(1, outcome.tokens - 1)
