"""The proxy that people write first: prefill leg, then the decode leg streamed through. Stateless, one process, no failure handling.

`python -m bench.vllm.proxy PREFILL_URL DECODE_URL` prints its port. As in vLLM's own examples, the decode leg computes the first
token again and the one of the prefill leg is thrown away.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

PREFILL: dict[str, Any] = {"do_remote_decode": True, "do_remote_prefill": False}
EMPTY = dict.fromkeys(("remote_engine_id", "remote_block_ids", "remote_host", "remote_port"))


class Proxy:
    """Relays /v1/completions."""

    def __init__(self, prefill_url: str, decode_url: str) -> None:
        self._prefill_url, self._decode_url = prefill_url, decode_url

    async def start(self, app: web.Application) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def stop(self, app: web.Application) -> None:
        await self._session.close()

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        first = {**body, "stream": False, "max_tokens": 1, "kv_transfer_params": PREFILL | EMPTY}
        first.pop("stream_options", None)
        async with self._session.post(f"{self._prefill_url}/v1/completions", json=first) as answer:
            handoff = (await answer.json())["kv_transfer_params"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        second = {**body, "kv_transfer_params": handoff}
        async with self._session.post(f"{self._decode_url}/v1/completions", json=second) as answer:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        await response.write_eof()
        return response


async def serve(prefill_url: str, decode_url: str) -> None:
    """Until killed."""
    proxy = Proxy(prefill_url, decode_url)
    app = web.Application(client_max_size=64 << 20)
    app.on_startup.append(proxy.start)
    app.on_cleanup.append(proxy.stop)
    app.router.add_post("/v1/completions", proxy.completions)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
