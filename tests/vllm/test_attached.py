"""A server that somebody else runs: waited for, watched, asked where its events are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from orchestrator.core.sockets import free_ports
from tests.vllm.server_double import ServerDouble, serving
from workers.engine.vllm import attached as module
from workers.engine.vllm.address import Address
from workers.engine.vllm.attached import AttachedServer, event_endpoints
from workers.engine.vllm.client import HttpClient
from workers.engine.vllm.server import ServerError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "WATCH_S", 0.01)


async def test_it_is_waited_for_and_its_end_is_noticed() -> None:
    said: list[str] = []
    async with serving(ServerDouble()) as double:
        server = AttachedServer(Address.parse(double.url), 10.0, said.append)
        client = HttpClient(server.address)
        await server.start(client)
        assert said == [f"vLLM: waiting for {double.url}"]
        ended = asyncio.create_task(server.ended())
        for _ in range(3):
            assert (await client.get("/health", 5.0))[0] == 200
        assert not ended.done()
        await server.stop()
        assert (await client.get("/health", 5.0))[0] == 200, "it is not ours to end"
    async with asyncio.timeout(10):
        assert await ended == f"the vLLM server at {double.url} answers no more"
    client.close()


async def test_one_that_is_not_there_is_named() -> None:
    address = Address("127.0.0.1", free_ports(1)[0])
    client = HttpClient(address)
    with pytest.raises(ServerError, match=rf"no vLLM server answers at {address} within 0.05 s; start it"):
        await AttachedServer(address, 0.05, lambda _: None).start(client)
    client.close()


SOURCE = {"publisher": "zmq", "endpoint": "tcp://*:5557", "replay_endpoint": None}


@pytest.mark.parametrize(
    ("status", "sources", "found"),
    [
        (200, {"0": SOURCE}, ("tcp://10.0.0.7:5557", None)),
        (200, {"0": SOURCE | {"replay_endpoint": "tcp://*:5558"}}, ("tcp://10.0.0.7:5557", "tcp://10.0.0.7:5558")),
        (200, {"0": SOURCE | {"endpoint": "ipc:///run/events"}}, ("ipc:///run/events", None)),
        (200, {"0": SOURCE | {"publisher": "null"}}, None),
        (200, {"0": SOURCE, "1": SOURCE}, None),
        (200, {}, None),
        (200, [SOURCE], None),
        (404, {"0": SOURCE}, None),
    ],
)
async def test_where_events_are_published(status: int, sources: Any, found: object) -> None:
    class Client:
        async def get(self, path: str, timeout_s: float) -> tuple[int, bytes]:
            assert path == "/kv_event_sources"
            return status, json.dumps(sources).encode()

    assert await event_endpoints(Client(), "10.0.0.7") == found  # type: ignore[arg-type]
