"""A double of a vLLM 0.32 server: its HTTP surface with an arithmetic model behind it, and faults on demand.

It is no vLLM: tokens are sums, KV is a count of blocks. What it keeps of the real one is what legs depend on: which fields a body has,
how answers and streams look, that a decode leg needs blocks that a prefill leg has left on a peer, that a grammar begins with the first
token of the leg. The suite that starts real vLLM servers on a CPU is `tests/live_vllm`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

VOCABULARY = 1000
GRAMMAR = 500
"""Tokens of a constrained request: 500, 501, … from the first that a leg produces."""

METRICS = """\
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="%(block)d",cache_dtype="auto",engine="0",num_gpu_blocks="%(blocks)d"} 1.0
vllm:num_preemptions_total{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 40.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 7.0
vllm:iteration_tokens_total_created{engine="0",model_name="m"} 1.7e+09
"""


def next_token(context: Sequence[int]) -> int:
    """The model: it depends on every token before."""
    return (sum((i + 1) * t for i, t in enumerate(context)) + 7 * len(context)) % GRAMMAR


def answer(prompt: Sequence[int], count: int) -> list[int]:
    """What the model says to `prompt`, greedily."""
    context = list(prompt)
    for _ in range(count):
        context.append(next_token(context))
    return context[len(prompt) :]


@dataclass
class Behave:
    """What becomes of the next completion. At most one of the faults is set."""

    status: int = 200
    body: bytes = b'{"error": {"message": "no such thing", "type": "BadRequestError", "code": 400}}'
    silent: bool = False
    """Never answer."""
    stop_after: int | None = None
    """Send so many tokens, then wait for ever."""
    hang_up_after: int | None = None
    """Send so many tokens, then cut the connection."""
    end_after: int | None = None
    """Send so many tokens and end the stream in good order, without a finish reason."""
    say_after: tuple[int, bytes] | None = None
    """Send so many tokens, then these bytes."""
    finish: tuple[int, str] | None = None
    """End with this reason after so many tokens."""
    bytewise: bool = False
    """Every byte in a write of its own."""
    at_once: int = 1
    """Tokens in one event."""
    change: Callable[[dict[str, Any]], None] = field(default=lambda document: None)
    """Edits an answer that is no stream."""


class ServerDouble:
    """One server. `bodies` are the completions it was asked for, `aborted` the request ids whose caller hung up."""

    def __init__(self, block_tokens: int = 4, kv_blocks: int = 65, max_model_len: int = 512) -> None:
        self.block_tokens, self.kv_blocks, self.max_model_len = block_tokens, kv_blocks, max_model_len
        self.health: deque[int] = deque()
        """Statuses of the next looks at /health; 200 afterwards."""
        self.version: Any = {"version": "0.32.0"}
        self.models: Any = {"object": "list", "data": [{"id": "m", "max_model_len": max_model_len}]}
        self.metrics = METRICS % {"block": block_tokens, "blocks": kv_blocks}
        self.side_channel = ("127.0.0.1", 1)
        self.script: deque[Behave] = deque()
        self.bodies: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.aborted: list[str] = []
        self.held: dict[str, int] = {}
        """Blocks kept for a peer, by request id."""
        self.peers: list[ServerDouble] = []
        self.stored: set[tuple[int, ...]] = set()
        self.changed = asyncio.Event()
        self.url = ""
        self.scale_out = True
        """It has /inference/v1/generate."""
        self.paths: list[str] = []
        """Of `bodies`."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what the server has seen makes it true."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def app(self) -> web.Application:
        made = web.Application()
        made.add_routes(
            [
                web.get("/health", self._health),
                web.get("/version", self._version),
                web.get("/v1/models", self._models),
                web.get("/metrics", self._metrics),
                web.post("/v1/completions", self._completions),
                *([web.post("/inference/v1/generate", self._generate)] if self.scale_out else []),
            ]
        )
        return made

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.health.popleft() if self.health else 200)

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response(self.version)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(self.models)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self.metrics)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body:
            return _error(400, "token_ids: field required")
        sampling = body.pop("sampling_params")
        assert sampling.pop("detokenize") is False and body["stream"]
        return await self._answer(request, {"prompt": body.pop("token_ids"), **sampling, **body})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, await request.json())

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        name = request.headers.get("X-Request-Id", f"own-{len(self.bodies)}")
        self.bodies.append(body)
        self.paths.append(request.path)
        self.names.append(name)
        self.changed.set()
        how = self.script.popleft() if self.script else Behave()
        try:
            if how.silent:
                await asyncio.Event().wait()
            if how.status != 200:
                return web.Response(status=how.status, body=how.body, content_type="application/json")
            if refused := self._pull(body):
                return _error(500, refused)
            if body.get("stream"):
                return await self._stream(request, body, how)
            return self._whole(body, how, name)
        except asyncio.CancelledError:
            self.aborted.append(name)
            raise
        finally:
            self.changed.set()

    def _produce(self, body: dict[str, Any], how: Behave) -> tuple[list[int], str]:
        count = body["max_tokens"]
        reason = "length"
        if how.finish is not None and how.finish[0] <= count:
            count, reason = how.finish
        if "structured_outputs" in body:
            return [GRAMMAR + i for i in range(count)], reason
        return answer(body["prompt"], count), reason

    def _pull(self, body: dict[str, Any]) -> str:
        """Read a peer's blocks, as many as the prompt fills; what is wrong, if anything."""
        given = body.get("kv_transfer_params") or {}
        if not given.get("do_remote_prefill"):
            return ""
        held = next((peer.held for peer in self.peers if given["remote_request_id"] in peer.held), None)
        if held is None:
            return "KV load failed: the blocks are gone"
        there, wanted = held.pop(given["remote_request_id"]), -(-len(body["prompt"]) // self.block_tokens)
        if there != len(given["remote_block_ids"][0]) or wanted > there:
            return f"KV load failed: {wanted} blocks wanted, {there} there"
        return ""

    def _whole(self, body: dict[str, Any], how: Behave, name: str) -> web.Response:
        tokens, reason = self._produce(body, how)
        prompt = body["prompt"]
        choice: dict[str, Any] = {"index": 0, "text": "", "token_ids": tokens, "finish_reason": reason}
        choice["logprobs"] = _logprobs(tokens, body)
        if (most := body.get("prompt_logprobs")) is not None:
            choice["prompt_token_ids"] = prompt
            choice["prompt_logprobs"] = [None, *(_ranked(token, most) for token in prompt[1:])]
        cached = next((len(p) for p in self.stored if list(p) == prompt[: len(p)]), 0)
        self.stored.add(tuple(prompt[: len(prompt) // self.block_tokens * self.block_tokens]))
        details = {"cached_tokens": cached} if cached else None
        document: dict[str, Any] = {"id": name, "choices": [choice], "usage": {"prompt_tokens_details": details}}
        if (body.get("kv_transfer_params") or {}).get("do_remote_decode"):
            self.held[name] = -(-(len(prompt) + len(tokens) - 1) // self.block_tokens)
            document["kv_transfer_params"] = self.kv_parameters(name)
        how.change(document)
        return web.json_response(document)

    def kv_parameters(self, name: str) -> dict[str, Any]:
        host, port = self.side_channel
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [list(range(1, 1 + self.held[name]))],
            "remote_engine_id": f"engine at {self.url}",
            "remote_request_id": name,
            "remote_host": host,
            "remote_port": port,
            "tp_size": 1,
            "a field of a later version": [1, {"deep": None}],
        }

    async def _stream(self, request: web.Request, body: dict[str, Any], how: Behave) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def write(data: bytes) -> None:
            for part in [data[i : i + 1] for i in range(len(data))] if how.bytewise else [data]:
                await response.write(part)

        tokens, reason = self._produce(body, how)
        cut = next((n for n in (how.stop_after, how.hang_up_after, how.end_after) if n is not None), None)
        if how.say_after is not None:
            cut = how.say_after[0]
        for first in range(0, len(tokens) if cut is None else cut, how.at_once):
            some = tokens[first : first + how.at_once]
            last = first + len(some) == len(tokens)
            choice = {"index": 0, "text": "", "token_ids": some, "finish_reason": reason if last else None}
            choice["logprobs"] = _logprobs(some, body)
            await write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        if how.stop_after is not None:
            await asyncio.Event().wait()
        if how.hang_up_after is not None:
            assert request.transport is not None
            request.transport.abort()
            return response
        if how.say_after is not None:
            await write(how.say_after[1])
        await write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def serving(double: ServerDouble) -> AsyncIterator[ServerDouble]:
    """Run it on a loopback port until the end of the block."""
    runner = web.AppRunner(double.app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        double.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield double
    finally:
        await runner.cleanup()


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": {"message": text, "type": "InternalServerError", "code": status}}, status=status)


def logprob_of(token: int) -> float:
    """Of a sampled token; tokens beside it are less likely."""
    return -1.0 - token / VOCABULARY


def _logprobs(tokens: list[int], body: dict[str, Any]) -> dict[str, Any] | None:
    most = body.get("logprobs")
    if most is None:
        return None
    tops = [{f"token_id:{t + i}": logprob_of(t) - i for i in range(max(1, most))} for t in tokens]
    return {"token_logprobs": [logprob_of(t) for t in tokens], "top_logprobs": tops}


def _ranked(token: int, most: int) -> dict[str, Any]:
    """A prompt token that is the second likeliest."""
    ranks = {token + 1: 1, token: 2, token + 2: 3}
    return {str(t): {"rank": r, "logprob": -float(r)} for t, r in ranks.items() if r <= most or t == token}
