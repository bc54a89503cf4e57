"""A bare TCP relay: what forwarding bytes costs in this language, whatever the bytes mean.

`python -m bench.frontdoor.relay PORT…`: each client connection goes to the next of these ports on this machine.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import cast

import uvloop

from bench.peers.child import serve_until_eof


class Upstream(asyncio.Protocol):
    """The connection to a backend."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.close()


class Downstream(asyncio.Protocol):
    """The connection of a client; what it sends before the backend is there waits."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._upstream: asyncio.Transport | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = cast(asyncio.Transport, transport)
        self._task = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        self._upstream, _ = await loop.create_connection(lambda: Upstream(self._client), "127.0.0.1", self._port)
        if self._early:
            self._upstream.write(self._early)

    def data_received(self, data: bytes) -> None:
        if self._upstream is None:
            self._early += data
        else:
            self._upstream.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._upstream is not None:
            self._upstream.close()


async def serve(ports: list[int]) -> None:
    turn = itertools.cycle(ports)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Downstream(next(turn)), "127.0.0.1", 0, backlog=1024)
    await serve_until_eof({"port": listener.sockets[0].getsockname()[1]})


if __name__ == "__main__":
    uvloop.run(serve([int(port) for port in sys.argv[1:]]))
