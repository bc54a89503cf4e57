"""Whether two servers can exchange KV is found out before a request needs it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.vllm.server_double import Behave, ServerDouble, answer, serving
from tests.vllm.side_channel import SILENT, SideChannel, handshake, side_channel
from workers.engine.vllm import handshake as handshake_module
from workers.engine.vllm.address import Address
from workers.engine.vllm.client import HttpClient
from workers.engine.vllm.facts import Facts
from workers.engine.vllm.handshake import HandshakeError, compatibility_hash
from workers.engine.vllm.links import AGAIN_S, Identity, Incompatible, VllmLinks, check
from workers.engine.vllm.nixl import NixlHandoff

FACTS = Facts("0.32.0", "m", 512, 64, 4, "auto")


class Pair:
    """`links` are those of the decode side; `source` and `own` are the servers, each with a side channel."""

    def __init__(self, source: ServerDouble, own: ServerDouble, there: SideChannel, here: SideChannel) -> None:
        self.source, self.own, self.there, self.here = source, own, there, here
        source.side_channel, own.side_channel = ("127.0.0.1", there.port), ("127.0.0.1", here.port)
        source.peers, own.peers = [own], [source]
        self.client = HttpClient(Address.parse(own.url))
        self.links = VllmLinks(Identity(own.url, FACTS), self.client, NixlHandoff())
        self.identity = Identity(source.url, FACTS).dump()

    async def connect(self, metadata: bytes | None = None) -> None:
        """Warm up and wait for the outcome."""
        self.links.connect("p@1", self.identity if metadata is None else metadata)
        for task in list(self.links._tasks.values()):
            await asyncio.wait_for(task, 10)


@pytest.fixture
async def linked() -> AsyncIterator[Pair]:
    async with serving(ServerDouble()) as source, serving(ServerDouble()) as own:
        async with side_channel() as there, side_channel() as here:
            pair = Pair(source, own, there, here)
            yield pair
            pair.links.close()
            pair.client.close()


async def test_pair_is_warmed_with_a_real_handoff(linked: Pair) -> None:
    await linked.connect()
    assert linked.links.connected() == ["p@1"]
    assert linked.links.problems == {}
    prefill, pull = linked.source.bodies[0], linked.own.bodies[-1]
    assert prefill["kv_transfer_params"]["do_remote_decode"] is True
    assert pull["kv_transfer_params"]["remote_request_id"] == linked.source.names[0]
    assert (len(prefill["prompt"]), prefill["max_tokens"], pull["max_tokens"]) == (5, 1, 1)
    assert linked.there.asked == linked.here.asked == [[b"get_meta_msg", 0, 0]]
    linked.links.connect("p@1", linked.identity)
    linked.links.connect("q@1", linked.identity)
    assert list(linked.links._tasks) == ["q@1"], "a warm pair is left alone"
    await asyncio.wait_for(linked.links._tasks["q@1"], 10)
    assert linked.links.connected() == ["p@1", "q@1"]
    assert len(linked.here.asked) == 1, "our own hash is asked once"
    linked.links.disconnect("p@1")
    assert linked.links.connected() == ["q@1"]


async def test_hashes_that_differ_are_final(linked: Pair) -> None:
    linked.there.payload = handshake("ffff")
    await linked.connect()
    problem = linked.links.problems["p@1"]
    assert "compatibility hashes differ (ffff, here 0123456789ab)" in problem
    assert linked.links.connected() == []
    assert linked.links._not_before_s["p@1"] == math.inf
    assert not any((b.get("kv_transfer_params") or {}).get("do_remote_prefill") for b in linked.own.bodies)
    linked.links.connect("p@1", linked.identity)
    assert not linked.links._tasks, "not tried again"
    linked.links.disconnect("p@1")
    linked.there.payload = handshake("0123456789abcdef")
    await linked.connect()
    assert linked.links.connected() == ["p@1"], "until it was gone"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": "0.31.0"}, "version is 0.31.0 there and 0.32.0 here"),
        ({"block_tokens": 32}, "block_tokens is 32 there and 4 here"),
        ({"cache_dtype": "fp8"}, "cache_dtype is fp8 there and auto here"),
    ],
)
async def test_servers_that_differ_by_their_own_words(linked: Pair, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Incompatible, match=text):
        check(dataclasses.replace(FACTS, **changes), FACTS)
    await linked.connect(Identity(linked.source.url, dataclasses.replace(FACTS, **changes)).dump())
    assert text in linked.links.problems["p@1"]
    assert linked.source.bodies == [], "it is not even asked"


def test_model_names_and_sizes_may_differ() -> None:
    check(dataclasses.replace(FACTS, model="other name", kv_blocks=7, max_model_len=9), FACTS)


@pytest.mark.parametrize(
    "how",
    [
        Behave(status=500),
        Behave(change=lambda document: document.pop("kv_transfer_params")),
    ],
)
async def test_source_that_fails_is_tried_again_later(linked: Pair, how: Behave) -> None:
    linked.source.script.append(how)
    await linked.connect()
    assert linked.links.problems["p@1"].startswith("no KV can be pulled from p@1: ")
    now_s = asyncio.get_running_loop().time()
    assert now_s + AGAIN_S - 5 < linked.links._not_before_s["p@1"] <= now_s + AGAIN_S
    linked.links._not_before_s["p@1"] = now_s
    await linked.connect()
    assert (linked.links.connected(), linked.links.problems) == (["p@1"], {})


@pytest.mark.parametrize(
    "how",
    [
        Behave(status=500),
        Behave(change=lambda document: document.update(choices=[])),
        Behave(change=lambda document: document.update(choices=["a"])),
        Behave(change=lambda document: document["choices"][0].update(token_ids=[])),
    ],
)
async def test_decode_leg_that_fails(linked: Pair, how: Behave) -> None:
    linked.own.script.extend([Behave(), how])
    await linked.connect()
    assert linked.links.connected() == []
    assert "p@1" in linked.links.problems


async def test_silent_side_channel(linked: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake_module, "ASK_S", 0.01)
    linked.there.payload = SILENT
    await linked.connect()
    assert "VLLM_NIXL_SIDE_CHANNEL_HOST" in linked.links.problems["p@1"]
    assert linked.links._not_before_s["p@1"] < math.inf


@pytest.mark.parametrize("metadata", [b"", b"no json", b"[]", b"{}", b'{"url": "http://h:1"}', b'{"url": 7, "x": 1}'])
async def test_metadata_of_somebody_else(linked: Pair, metadata: bytes) -> None:
    with pytest.raises(ValueError):
        Identity.load(metadata)
    await linked.connect(metadata)
    assert "p@1" in linked.links.problems


async def test_disconnect_ends_an_attempt(linked: Pair) -> None:
    linked.source.script.append(Behave(silent=True))
    linked.links.connect("p@1", linked.identity)
    task = linked.links._tasks["p@1"]
    await linked.source.until(lambda: len(linked.source.bodies) == 1)
    linked.links.disconnect("p@1")
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await linked.source.until(lambda: len(linked.source.aborted) == 1)
    assert (linked.links.connected(), linked.links.problems, linked.links._tasks) == ([], {}, {})


async def test_attempt_after_a_disconnect_survives_the_end_of_the_one_before(linked: Pair) -> None:
    linked.source.script.append(Behave(silent=True))
    linked.links.connect("p@1", linked.identity)
    first = linked.links._tasks["p@1"]
    await linked.source.until(lambda: len(linked.source.bodies) == 1)
    linked.links.disconnect("p@1")
    linked.links.connect("p@1", linked.identity)
    second = linked.links._tasks["p@1"]
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert linked.links._tasks == {"p@1": second}
    await asyncio.wait_for(second, 10)
    assert linked.links.connected() == ["p@1"]


async def test_identity_there_and_back(linked: Pair) -> None:
    assert Identity.load(linked.links.metadata()) == Identity(linked.own.url, FACTS)
    assert linked.links.versions() == {"vllm": "0.32.0", "kv_cache_dtype": "auto"}
    assert linked.links.name == "nixl"


def parameters(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    return {"remote_host": host, "remote_port": port}


async def test_handshake_gives_the_hash() -> None:
    async with side_channel("abc") as channel:
        assert await compatibility_hash(parameters(channel.port)) == "abc"


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"x": 1})])
async def test_handshake_that_cannot_be_read(payload: bytes) -> None:
    async with side_channel() as channel:
        channel.payload = payload
        with pytest.raises(HandshakeError, match=f"NIXL side channel 127.0.0.1:{channel.port}: "):
            await compatibility_hash(parameters(channel.port))


async def test_handshake_with_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake_module, "ASK_S", 0.01)
    with pytest.raises(HandshakeError, match=r"\[::1\]:1 does not answer"):
        await compatibility_hash(parameters(1, "::1"))
    with pytest.raises(HandshakeError, match="side channel"):
        await compatibility_hash({"remote_host": "127.0.0.1", "remote_port": "x"})


def test_probe_asks_the_model_of_the_double_for_a_block_and_one() -> None:
    """What the warming relies on: the double answers as a model does."""
    assert answer([1, 2], 2) == answer([1, 2], 1) + answer([1, 2, *answer([1, 2], 1)], 1)
