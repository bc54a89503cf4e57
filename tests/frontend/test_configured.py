"""What `spec.frontDoor` says reaches the HTTP server, the dispatcher and the index of prefixes."""

import asyncio
import dataclasses
import json
from dataclasses import fields

from orchestrator.core.config import loads
from orchestrator.core.config.services import FrontDoor
from orchestrator.frontend.__main__ import build_dispatcher
from orchestrator.frontend.http import Limits, bounds_of, make_app, start_http
from orchestrator.frontend.http.server import Bounds
from orchestrator.observability import Metrics
from orchestrator.policies.registry import catalog
from orchestrator.routing.prefix import MAX_BLOCKS
from tests.frontend.server.conftest import Client

HEAD = "apiVersion: pd/v1\nkind: Cluster\n"


def cluster(front_door: str):
    return loads(f"{HEAD}spec: {{frontDoor: {{{front_door}}}}}\n", catalog())


def test_the_defaults_are_those_of_the_server_and_of_the_index():
    assert bounds_of(FrontDoor()) == Bounds()
    assert FrontDoor().prefix_index_blocks == MAX_BLOCKS


def test_every_bound_arrives():
    door = cluster(
        "maxConnections: 5, maxBodyBytes: 2048, maxBufferedBytes: 4096, headerTimeoutS: 2.5, bodyTimeoutS: 3, keepAliveS: 4, "
        "stallTimeoutS: 6, maxBacklogBytes: 262144"
    ).spec.front_door
    assert bounds_of(door) == dataclasses.replace(
        Bounds(),
        max_connections=5,
        max_body_bytes=2048,
        max_buffered_bytes=4096,
        header_timeout_s=2.5,
        body_timeout_s=3.0,
        keep_alive_s=4.0,
        stall_s=6.0,
        backlog_bytes=65536,
        max_backlog_bytes=262144,
    )
    told = {f.name for f in fields(Bounds) if getattr(bounds_of(door), f.name) != getattr(Bounds(), f.name)}
    assert len(told) == 9


async def test_a_server_with_these_bounds_keeps_to_them(service, text):
    bounds = bounds_of(cluster("maxConnections: 1, maxBodyBytes: 1024").spec.front_door)
    app = make_app(service, text, limits=Limits(), metrics=Metrics())
    server, port = await start_http(app, "127.0.0.1", 0, bounds=bounds)
    first = Client(*await asyncio.open_connection("127.0.0.1", port))
    first.send(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n")
    assert (await first.answer())[0] == 413
    second = Client(*await asyncio.open_connection("127.0.0.1", port))
    status, _, body = await second.answer()
    assert (status, json.loads(body)["error"]["code"]) == (503, "busy")
    for client in (first, second):
        client.writer.transport.abort()
    await server.close(0.1)


def test_the_index_remembers_as_many_blocks_as_it_may(text):
    spec = cluster("prefixIndexBlocks: 1024")
    dispatcher = build_dispatcher(spec, spec.spec.model, text, Metrics(), None)
    dispatcher.router.prefix.stored(0, range(1 << 20, (1 << 20) + 5000))
    assert 900 <= len(dispatcher.router.prefix) <= 1024
