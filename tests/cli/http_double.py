"""A double of an OpenAI-compatible server: a real aiohttp server over loopback that streams as many tokens as it is asked for."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

from aiohttp import web


class HttpDouble:
    """Streams `max_tokens` tokens per request. Tests change its fields to make it slow, full or broken."""

    def __init__(self) -> None:
        self.card: dict[str, Any] = {"id": "double", "object": "model", "max_model_len": 256, "vocab_size": 512}
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.break_at: int | None = None
        self.hang_after: int | None = None
        self.usage = True
        self.delay_s = 0.0
        self.hanging = threading.Event()
        self.stall_at: int | None = None
        self.stall_s = 0.0

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self.card] if self.card else []})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        index = len(self.bodies)
        self.bodies.append(body)
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        if index == self.stall_at:
            # The whole server stands still, as in a long collection of garbage.
            time.sleep(self.stall_s)  # noqa: ASYNC251
        if self.status != 200:
            error = {"error": {"message": "the queue is full", "type": "rate_limit_error", "code": "queue_full"}}
            return web.json_response(error, status=self.status)
        if self.hang_after is not None and index >= self.hang_after:
            self.hanging.set()
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay_s)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(body["max_tokens"]):
            if number == self.break_at:
                await _send(response, {"error": {"message": "worker lost", "type": "server_error"}})
                return response
            last = "length" if number == body["max_tokens"] - 1 else None
            await _send(response, {"choices": [{"index": 0, "text": "a", "finish_reason": last}]})
        if self.usage:
            usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": body["max_tokens"]}
            await _send(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(f"data: {json.dumps(event)}\n\n".encode())


class HttpServer:
    """The double behind a port of this machine, on a thread of its own."""

    def __init__(self) -> None:
        self.double = HttpDouble()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_get("/v1/models", self.double.models)
        app.router.add_post("/v1/completions", self.double.completions)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def stop(self) -> None:
        """Close the port and end the thread."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
