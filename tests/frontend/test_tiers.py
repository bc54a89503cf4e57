"""Service levels follow the store: which there are, and which one is the default."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from orchestrator.core.config import Cluster, FrontDoor, Spec, Tier, dump
from orchestrator.frontend.http import Limits, make_app, start_http
from orchestrator.frontend.http.headers import TIER_HEADER
from orchestrator.frontend.router_request import RouterRequests
from orchestrator.frontend.text import InvalidRequest, TextModel
from orchestrator.frontend.tiers import Tiers, UnknownTier, follow_tiers
from orchestrator.observability import Metrics
from orchestrator.state import Store, open_store
from pd.v1 import routing_pb2 as pb
from tests.frontend.conftest import Script, until
from tests.frontend.scripted import ScriptedService

GOLD, SILVER, BRONZE = Tier("gold", 1.0, 1.0), Tier("silver", 2.0, 2.0), Tier("bronze", 3.0, 3.0)


def spec(*tiers: Tier, default: str | None = None) -> Spec:
    return Spec(tiers=tiers, front_door=FrontDoor(default_tier=default))


def test_tiers_are_replaced_in_place() -> None:
    tiers = Tiers.of(spec(GOLD, SILVER))
    same = tiers
    tiers.follow(spec(BRONZE, Tier("silver", 5.0, 5.0)))
    assert same is tiers and list(tiers) == ["bronze", "silver"] and tiers["silver"].ttft_ms == 5.0


def test_the_default_follows_the_spec() -> None:
    tiers = Tiers.of(spec(GOLD, SILVER))
    assert tiers.choose(None) == tiers.choose("") == "gold"
    tiers.follow(spec(SILVER, BRONZE))
    assert tiers.choose(None) == "silver"
    with pytest.raises(UnknownTier, match=r"^bronze, silver$"):
        tiers.choose("gold")
    tiers.follow(spec(GOLD, BRONZE, default="bronze"))
    assert tiers.choose(None) == "bronze" and tiers.choose("gold") == "gold"


async def test_the_store_is_followed(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/state.db", "c")
    put(store, spec(GOLD, SILVER))
    tiers = Tiers((BRONZE,))
    following = asyncio.create_task(follow_tiers(store, tiers))
    try:
        await until(lambda: tiers.default == "gold")
        put(store, spec(GOLD, SILVER, default="silver"))
        await until(lambda: tiers.default == "silver")
    finally:
        following.cancel()
        store.close()
    assert list(tiers) == ["gold", "silver"]


def put(store: Store, wanted: Spec) -> None:
    store.put("cluster", "spec", dump(Cluster(spec=wanted)))


async def test_a_tier_that_was_taken_away_is_refused_over_http(
    service: ScriptedService, text: TextModel, script: Script
) -> None:
    service.deltas = script("one two")
    tiers = Tiers.of(spec(GOLD, SILVER))
    app = make_app(service, text, limits=Limits(), metrics=Metrics(), tiers=tiers)
    server, port = await start_http(app, "127.0.0.1", 0)
    tiers.follow(spec(SILVER, BRONZE))
    try:
        async with aiohttp.ClientSession() as session:
            for name, status in (("gold", 400), (None, 200), ("bronze", 200)):
                url, body = f"http://127.0.0.1:{port}/v1/completions", {"model": "tiny", "prompt": "one"}
                async with session.post(url, json=body, headers={TIER_HEADER: name} if name else {}) as response:
                    assert response.status == status
                    if name == "gold":
                        said = json.loads(await response.text())["error"]["message"]
    finally:
        await server.close()
    assert said == f"There is no tier 'gold': use one of bronze, silver in {TIER_HEADER}."
    assert [submission.tier for submission in service.submissions] == ["silver", "bronze"]


async def test_a_tier_that_was_taken_away_is_refused_over_grpc(service: ScriptedService, text: TextModel) -> None:
    tiers = Tiers.of(spec(GOLD, SILVER))
    requests = RouterRequests(service.model, text, Limits(), tiers)
    tiers.follow(spec(SILVER, BRONZE))
    with pytest.raises(InvalidRequest, match="there is no tier 'gold': use one of bronze, silver"):
        await requests.read(pb.GenerateRequest(prompt="one", slo=pb.ServiceLevel(tier="gold")))
    submission, _ = await requests.read(pb.GenerateRequest(prompt="one"))
    assert submission.tier == "silver"
