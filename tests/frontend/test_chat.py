"""Chat completions through the official client."""

from __future__ import annotations

import pytest
from openai import APIError, AsyncOpenAI

from orchestrator.core.sampling import Finish
from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text import TextModel
from tests.frontend.conftest import MAX_LEN, Script
from tests.frontend.scripted import ScriptedService

MESSAGES = [{"role": "user", "content": "count to five"}]
SAID = "one two three, 你好 👋🏽"


async def test_whole(client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel) -> None:
    service.deltas = script(SAID, cached=3)
    answer = await client.chat.completions.create(model="tiny", messages=MESSAGES)
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", SAID, "stop")
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion" and answer.system_fingerprint
    prompt = text.apply_chat_template(MESSAGES)
    assert service.submissions[0].tokens.tolist() == list(prompt)
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    said = len(text.encode(SAID)) + 1
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (len(prompt), said, len(prompt) + said)
    assert usage.prompt_tokens_details.cached_tokens == 3
    assert service.completed and not service.cancelled


async def test_defaults(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one")
    for _ in range(2):
        await client.chat.completions.create(model="tiny", messages=MESSAGES)
    first, second = (s.sampling for s in service.submissions)
    assert first.max_tokens == MAX_LEN - len(service.submissions[0].tokens)
    assert (first.temperature, first.top_p, first.top_k, first.logprobs) == (1.0, 1.0, 0, None)
    assert 0 <= first.seed < 2**63 and first.seed != second.seed


async def test_sampling_fields(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one", finish=Finish.LENGTH)
    answer = await client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        max_completion_tokens=7,
        temperature=0,
        top_p=0.5,
        seed=9,
        extra_body={"top_k": 3, "ignore_eos": True, "stop_token_ids": [4, 5]},
    )
    assert answer.choices[0].finish_reason == "length"
    sampling = service.submissions[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed, sampling.top_k) == (
        7,
        0.0,
        0.5,
        9,
        3,
    )
    assert sampling.ignore_eos and sampling.stop_token_ids == (4, 5)


async def test_stream(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script(SAID, size=2, cached=1)
    stream = await client.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SAID
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert len({c.id for c in chunks}) == 1
    last = chunks[-1]
    assert last.choices == [] and last.usage is not None and last.usage.prompt_tokens_details is not None
    assert last.usage.prompt_tokens_details.cached_tokens == 1
    assert all(c.usage is None for c in chunks[:-1])


async def test_stream_without_usage(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one two")
    stream = await client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(c.choices and c.usage is None for c in chunks)


async def test_first_token_is_not_delayed(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas, service.hold_after = script("one two three"), 1
    stream = await client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    chunks = aiter(stream)
    await anext(chunks)
    assert (await anext(chunks)).choices[0].delta.content
    service.release.set()
    rest = [c async for c in chunks]
    assert rest[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs(client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool) -> None:
    service.deltas = script(SAID, logprobs=True)
    answer = await client.chat.completions.create(
        model="tiny", messages=MESSAGES, logprobs=True, top_logprobs=2, stream=stream
    )
    parts = [c async for c in answer] if stream else [answer]
    entries = [e for p in parts if p.choices[0].logprobs for e in p.choices[0].logprobs.content]
    assert b"".join(bytes(e.bytes) for e in entries).decode() == SAID
    assert all(e.logprob == -0.25 and len(e.top_logprobs) == 2 for e in entries)
    assert service.submissions[0].sampling.logprobs == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("logprobs", [False, True])
async def test_stop_string(
    client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool, logprobs: bool
) -> None:
    service.deltas = script("one two three four", size=1, logprobs=logprobs)
    answer = await client.chat.completions.create(
        model="tiny", messages=MESSAGES, stop=["ee fo", "zzz"], stream=stream, logprobs=logprobs
    )
    if stream:
        chunks = [c async for c in answer]
        content = "".join(c.choices[0].delta.content or "" for c in chunks)
        finish = chunks[-1].choices[0].finish_reason
    else:
        content, finish = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert (content, finish) == ("one two thr", "stop")
    assert service.stopped and not service.completed


async def test_error_before_first_token_has_a_status(client: AsyncOpenAI, service: ScriptedService) -> None:
    service.error = ServiceError(Cause.WORKER, "attempts used up")
    with pytest.raises(APIError) as caught:
        await client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    assert caught.value.status_code == 500  # type: ignore[attr-defined]
    assert caught.value.code == "worker_failure"


async def test_error_in_the_stream_is_an_event(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas, service.error = script("one two")[:2], ServiceError(Cause.WORKER, "attempts used up")
    stream = await client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    chunks = aiter(stream)
    assert (await anext(chunks)).choices[0].delta.role == "assistant"
    with pytest.raises(APIError, match="attempts used up"):
        while True:
            await anext(chunks)
