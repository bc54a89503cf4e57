"""A vLLM server that somebody else runs: waited for, watched, and left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import orjson

from workers.engine.vllm.address import Address
from workers.engine.vllm.client import HttpClient, HttpError
from workers.engine.vllm.server import LOOK_S, ServerError, healthy

WATCH_S = 1.0
MISSED = 3
"""Health checks in a row without an answer after which the server counts as gone."""


class AttachedServer:
    """Has the methods of Server. `wait_s` bounds the wait for its first answer."""

    def __init__(self, address: Address, wait_s: float, say: Callable[[str], None]) -> None:
        self.address = address
        self._wait_s = wait_s
        self._say = say
        self._client: HttpClient | None = None

    async def start(self, client: HttpClient) -> None:
        """Return when /health answers 200; raises ServerError when it does not in time."""
        self._client = client
        self._say(f"vLLM: waiting for {self.address}")
        until_s = time.monotonic() + self._wait_s
        while not await healthy(client):
            if time.monotonic() > until_s:
                text = f"no vLLM server answers at {self.address} within {self._wait_s:g} s"
                raise ServerError(f"{text}; start it, or correct spec.pools[].servers")
            await asyncio.sleep(LOOK_S)

    async def ended(self) -> str:
        """Wait until it answers no more."""
        assert self._client is not None
        missed = 0
        while missed < MISSED:
            await asyncio.sleep(WATCH_S)
            missed = 0 if await healthy(self._client) else missed + 1
        return f"the vLLM server at {self.address} answers no more"

    async def stop(self) -> None:
        """It is not ours to end."""


async def event_endpoints(client: HttpClient, host: str) -> tuple[str, str | None] | None:
    """Where a server publishes its KV events and replays them, as /kv_event_sources says; None where it does not, or in several places."""
    try:
        status, body = await client.get("/kv_event_sources", 5.0)
        sources = orjson.loads(body) if status == 200 else {}
    except (HttpError, orjson.JSONDecodeError):
        return None
    if not isinstance(sources, dict) or len(sources) != 1:
        return None
    source = next(iter(sources.values()))
    if not isinstance(source, Mapping) or not source.get("endpoint") or source.get("publisher") != "zmq":
        return None
    replay = source.get("replay_endpoint")
    return _reachable(source["endpoint"], host), _reachable(replay, host) if replay else None


def _reachable(endpoint: str, host: str) -> str:
    """`tcp://*:5557` is bound to every address of the server's machine."""
    return endpoint.replace("*", f"[{host}]" if ":" in host else host)
