"""Completions and models through the official client."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, NotFoundError

from orchestrator.frontend.text import TextModel
from tests.frontend.conftest import Script
from tests.frontend.scripted import ScriptedService

SAID = "one two 你好"


@pytest.mark.parametrize("as_list", [False, True])
async def test_text_prompt(
    client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel, as_list: bool
) -> None:
    service.deltas = script(SAID)
    answer = await client.completions.create(
        model="tiny", prompt=["count to"] if as_list else "count to", max_tokens=20
    )
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (SAID, "stop")
    assert answer.id.startswith("cmpl-") and answer.object == "text_completion"
    assert service.submissions[0].tokens.tolist() == list(text.encode("count to"))
    assert service.submissions[0].sampling.max_tokens == 20


@pytest.mark.parametrize("nested", [False, True])
async def test_token_prompt(client: AsyncOpenAI, service: ScriptedService, script: Script, nested: bool) -> None:
    service.deltas = script(SAID)
    answer = await client.completions.create(model="tiny", prompt=[[7, 8, 9]] if nested else [7, 8, 9])
    assert answer.usage is not None and answer.usage.prompt_tokens == 3
    assert service.submissions[0].tokens.tolist() == [7, 8, 9]


async def test_stream(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script(SAID, size=3)
    stream = await client.completions.create(
        model="tiny", prompt="count", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks if c.choices) == SAID
    assert chunks[-2].choices[0].finish_reason == "stop" and chunks[-1].usage is not None


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs(
    client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel, stream: bool
) -> None:
    service.deltas = script("one two three", logprobs=True)
    answer = await client.completions.create(model="tiny", prompt="count", logprobs=2, stream=stream)
    parts = [c async for c in answer] if stream else [answer]
    found = [p.choices[0].logprobs for p in parts if p.choices[0].logprobs]
    tokens = [t for f in found for t in f.tokens]
    assert "".join(tokens) == "one two three"
    assert [o for f in found for o in f.text_offset] == [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    assert all(x == -0.25 for f in found for x in f.token_logprobs)
    assert all(len(top) == 2 for f in found for top in f.top_logprobs)


async def test_zero_logprobs_report_the_chosen_token(
    client: AsyncOpenAI, service: ScriptedService, script: Script
) -> None:
    service.deltas = script("one", logprobs=True)
    answer = await client.completions.create(model="tiny", prompt="count", logprobs=0)
    assert answer.choices[0].logprobs is not None and answer.choices[0].logprobs.tokens
    assert service.submissions[0].sampling.logprobs == 0


async def test_models(client: AsyncOpenAI) -> None:
    listed = await client.models.list()
    assert [m.id for m in listed.data] == ["tiny"]
    assert (await client.models.retrieve("tiny")).owned_by == "tandem"
    with pytest.raises(NotFoundError) as caught:
        await client.models.retrieve("tinny")
    assert caught.value.code == "model_not_found" and "did you mean 'tiny'" in caught.value.message
