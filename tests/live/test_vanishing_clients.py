"""Fifty clients that go away at random moments leave no block, lease or ledger entry behind."""

import asyncio
import json
import random

import aiohttp
import pytest

pytestmark = pytest.mark.cluster


async def test_fifty_clients_vanish(live):
    live.wait_ready()
    rng = random.Random(7)

    async def vanish(session, after_chunks, streamed):
        body = {
            "model": "demo",
            "messages": [{"role": "user", "content": "count to 190"}],
            "stream": streamed,
            "temperature": 0,
        }
        async with session.post(f"{live.url}/v1/chat/completions", json=body) as response:
            async for _ in response.content:
                after_chunks -= 1
                if after_chunks <= 0:
                    response.close()
                    return

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = [asyncio.create_task(vanish(session, rng.randint(1, 120), True)) for _ in range(40)]
        silent = [asyncio.create_task(vanish(session, 1, False)) for _ in range(10)]
        await asyncio.gather(*tasks)
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
    await asyncio.to_thread(live.wait, "every block and lease free", live.idle, 1.0)
    live.pdctl("check")
    states = {item["state"] for item in json.loads(live.pdctl("get", "requests", "-o", "json"))["items"]}
    assert states <= {"finished", "cancelled"}, states
