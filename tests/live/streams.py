"""Concurrent greedy streams through the HTTP endpoint, for tests that disturb them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import openai

QUESTIONS = [f"count to {n}" for n in (150, 160, 170, 180, 140, 130, 190, 155)]


async def answer(client: openai.AsyncOpenAI, question: str, heard: Callable[[], None] = lambda: None) -> str:
    """The whole streamed answer; `heard` is called for each chunk."""
    stream = await client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": question}], temperature=0, stream=True, max_tokens=450
    )
    text = ""
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
        heard()
    return text


async def undisturbed(url: str) -> list[str]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        return [await answer(client, question) for question in QUESTIONS]


async def disturbed(url: str, seed: int, disturb: Callable[[], None]) -> list[str]:
    """All questions at once; `disturb` runs in a thread after a seeded number of chunks."""
    wanted = random.Random(seed).randint(1, 600)
    chunks = 0
    due = asyncio.Event()

    def heard() -> None:
        nonlocal chunks
        chunks += 1
        if chunks >= wanted:
            due.set()

    async def strike() -> None:
        await due.wait()
        await asyncio.to_thread(disturb)

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        striking = asyncio.create_task(strike())
        answers = await asyncio.gather(*(answer(client, question, heard) for question in QUESTIONS))
        due.set()
        await striking
    return list(answers)
