"""Two models behind one front door: each request goes to the one that it names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from openai import AsyncOpenAI, NotFoundError

from orchestrator.frontend.http import Limits, make_app, start_http
from orchestrator.frontend.served import Served
from orchestrator.frontend.text import TextModel
from orchestrator.observability import Metrics
from tests.frontend.conftest import MODEL, Script, ScriptedService

OTHER = "other"


@pytest.fixture
def other(service: ScriptedService) -> ScriptedService:
    return ScriptedService(replace(service.model, name=OTHER))


@pytest.fixture
async def two(service: ScriptedService, other: ScriptedService, text: TextModel) -> AsyncIterator[AsyncOpenAI]:
    app = make_app(service, text, limits=Limits(), metrics=Metrics(), more=[Served(other, text)])
    server, port = await start_http(app, "127.0.0.1", 0)
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0, timeout=10) as client:
        yield client
    await server.close()


async def test_requests_go_to_the_model_that_they_name(
    two: AsyncOpenAI, service: ScriptedService, other: ScriptedService, script: Script
) -> None:
    for made in (service, other):
        made.deltas = script("so")
    for name, mine, others in ((MODEL, service, other), (OTHER, other, service)):
        before = len(others.submissions)
        answer = await two.completions.create(model=name, prompt="a", max_tokens=4)
        assert answer.model == name and len(mine.submissions) >= 1 and len(others.submissions) == before


async def test_models_are_listed_and_others_refused(two: AsyncOpenAI) -> None:
    assert [model.id async for model in two.models.list()] == [MODEL, OTHER]
    assert (await two.models.retrieve(OTHER)).id == OTHER
    with pytest.raises(NotFoundError, match=rf"use '{MODEL}', '{OTHER}'"):
        await two.completions.create(model="third model", prompt="a")
