"""Several answers to one request, echoed prompts and their log-probabilities."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai import APIError, APIStatusError, AsyncOpenAI, BadRequestError, InternalServerError

from orchestrator.core.sampling import Finish
from orchestrator.frontend.service import Cause, Delta, Logprob, Running, ServiceError, Sink, Submission
from orchestrator.frontend.text import TextModel
from orchestrator.observability import Metrics
from tests.frontend.conftest import Script, until
from tests.frontend.scripted import ScriptedService

ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
WORDS = ["one", "two three", "four five 你好"]


@pytest.fixture
def words(service: ScriptedService, script: Script) -> None:
    """The answer to submission `ID-i` is WORDS[i]."""

    def deltas_of(submission: Submission) -> list[Delta]:
        return script(WORDS[int(submission.request_id.rpartition("-")[2]) % 3], cached=2)

    service.deltas_of = deltas_of


@pytest.mark.usefixtures("words")
async def test_whole_chat(client: AsyncOpenAI, service: ScriptedService, text: TextModel) -> None:
    answer = await client.chat.completions.create(**ASK, n=3, seed=7, extra_headers={"X-Request-Id": "me"})
    assert [(c.index, c.message.content, c.finish_reason) for c in answer.choices] == [
        (i, word, "stop") for i, word in enumerate(WORDS)
    ]
    assert [(s.request_id, s.sampling.seed) for s in service.submissions] == [("me-0", 7), ("me-1", 8), ("me-2", 9)]
    assert answer.id == "chatcmpl-me"
    prompt, said = len(service.submissions[0].tokens), sum(len(text.encode(word)) + 1 for word in WORDS)
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (prompt, said, prompt + said)
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert len(service.completed) == 3 and not service.cancelled


@pytest.mark.usefixtures("words")
async def test_drawn_seeds_differ(client: AsyncOpenAI, service: ScriptedService) -> None:
    await client.chat.completions.create(**ASK, n=3)
    assert len({s.sampling.seed for s in service.submissions}) == 3


@pytest.mark.usefixtures("words")
async def test_streamed_chat(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**ASK, n=3, stream=True, stream_options={"include_usage": True})
    contents, finishes, order, usages = ["", "", ""], {}, [], []
    async for chunk in stream:
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            order.append(choice.index)
            contents[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                finishes[choice.index] = choice.finish_reason
    assert contents == WORDS and finishes == {0: "stop", 1: "stop", 2: "stop"}
    assert order != sorted(order), "choices are interleaved as they come"
    assert len(usages) == 1


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("prompts", [["a", "b c", "d"], [[7], [8, 9], [10]]])
async def test_several_prompts(
    client: AsyncOpenAI, service: ScriptedService, text: TextModel, prompts: list[Any]
) -> None:
    answer = await client.completions.create(model="tiny", prompt=prompts)
    assert [(c.index, c.text) for c in answer.choices] == list(enumerate(WORDS))
    tokens = [text.encode(p) if isinstance(p, str) else p for p in prompts]
    assert [s.tokens.tolist() for s in service.submissions] == tokens
    assert answer.usage is not None and answer.usage.prompt_tokens == sum(map(len, tokens))


@pytest.mark.usefixtures("words")
async def test_answers_of_several_prompts_stand_together(client: AsyncOpenAI, service: ScriptedService) -> None:
    answer = await client.completions.create(model="tiny", prompt=[[7], [8, 9]], n=2)
    assert [s.tokens.tolist() for s in service.submissions] == [[7], [7], [8, 9], [8, 9]]
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert answer.usage is not None and answer.usage.prompt_tokens == 3


@pytest.mark.usefixtures("words")
async def test_all_are_let_in_or_none(client: AsyncOpenAI, service: ScriptedService, metrics: Metrics) -> None:
    service.refusal, service.accepts = ServiceError(Cause.QUEUE_FULL, "full", 2.0), 2
    with pytest.raises(APIStatusError) as caught:
        await client.chat.completions.create(**ASK, n=3, stream=True)
    assert caught.value.status_code == 429 and caught.value.response.headers["Retry-After"] == "2"
    assert service.cancelled == [s.request_id for s in service.submissions] and len(service.cancelled) == 2
    assert b'pd_active_requests{api="chat"} 0.0' in metrics.render()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_takes_all_along(
    client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool
) -> None:
    service.deltas, service.hold_after = script("one two"), 1
    asking = asyncio.create_task(client.chat.completions.create(**ASK, n=2, stream=stream))
    await until(lambda: len(service.submissions) == 2)
    if stream:
        answer = await asking
        await anext(aiter(answer))
        await answer.close()
    else:
        asking.cancel()
    await until(lambda: sorted(service.cancelled) == sorted(s.request_id for s in service.submissions))


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("stream", [False, True])
async def test_one_failure_ends_all(
    client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool
) -> None:
    def deltas_of(submission: Submission) -> list[Delta]:
        deltas = script("one two three four")
        return [deltas[0], Delta(1, (), finish=Finish.ERROR)] if submission.request_id.endswith("-1") else deltas

    service.deltas_of = deltas_of
    with pytest.raises(APIError) as caught:
        answer = await client.chat.completions.create(**ASK, n=3, stream=stream)
        async for _ in answer:
            pass
    assert caught.value.code == "worker_failure"
    assert {i[-2:] for i in service.cancelled} == {"-0", "-2"}


async def test_stop_strings_end_each_answer_alone(
    client: AsyncOpenAI, service: ScriptedService, script: Script
) -> None:
    service.deltas_of = lambda s: script("one two" if s.request_id.endswith("-0") else "five six")
    answer = await client.chat.completions.create(**ASK, n=2, stop=[" tw"])
    assert [c.message.content for c in answer.choices] == ["one", "five six"]
    assert [i[-2:] for i in service.stopped] == ["-0"] and [i[-2:] for i in service.completed] == ["-1"]


async def test_a_failure_while_the_others_start(
    client: AsyncOpenAI, service: ScriptedService, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.deltas = script("one")
    submit = ScriptedService.submit
    sinks: list[Sink] = []

    def fails_the_one_before(self: ScriptedService, submission: Submission, sink: Sink) -> Running:
        running = submit(self, submission, sink)
        for earlier in sinks:
            earlier.put(ServiceError(Cause.WORKER, "its worker is gone"))
        sinks.append(sink)
        return running

    monkeypatch.setattr(ScriptedService, "submit", fails_the_one_before)
    with pytest.raises(APIStatusError, match="its worker is gone"):
        await client.chat.completions.create(**ASK, n=3)
    assert len(service.submissions) == 2
    await until(lambda: sorted(service.cancelled) == sorted(s.request_id for s in service.submissions))


def scored(deltas: list[Delta], tokens: list[int]) -> list[Delta]:
    """`deltas` with log-probabilities of a prompt: -1 for its tokens, of which every second is the likeliest."""
    found = tuple(Logprob(-1.0, ((t if i % 2 else 5, -0.5), (6, -2.0))) for i, t in enumerate(tokens[1:]))
    deltas[0].prompt_logprobs = found
    return deltas


async def test_prompt_logprobs(client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel) -> None:
    tokens = [9, 8, 7]
    service.deltas = scored(script("one"), tokens)
    answer = await client.completions.create(model="tiny", prompt=tokens, n=2, extra_body={"prompt_logprobs": 1})
    assert [s.sampling.prompt_logprobs for s in service.submissions] == [1, None]
    for choice in answer.choices:
        first, second, third = choice.model_extra["prompt_logprobs"]
        assert first is None
        assert second == {
            "5": {"logprob": -0.5, "rank": 1, "decoded_token": text.decode([5])},
            "8": {"logprob": -1.0, "rank": None, "decoded_token": text.decode([8])},
        }
        assert third == {"7": {"logprob": -0.5, "rank": 1, "decoded_token": text.decode([7])}}


async def test_prompt_logprobs_of_a_chat(
    client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel
) -> None:
    tokens = text.apply_chat_template(ASK["messages"])
    service.deltas = scored(script("one"), tokens)
    answer = await client.chat.completions.create(**ASK, extra_body={"prompt_logprobs": 0})
    found = answer.model_extra["prompt_logprobs"]
    assert found[0] is None and [list(entry) for entry in found[1:]] == [[str(t)] for t in tokens[1:]]
    assert service.submissions[0].request_id == answer.id.removeprefix("chatcmpl-")


async def test_many_prompt_logprobs(
    client: AsyncOpenAI, service: ScriptedService, script: Script, metrics: Metrics
) -> None:
    def deltas_of(submission: Submission) -> list[Delta]:
        deltas = script("one")
        found = tuple(Logprob(-1.0, tuple((i, -float(i)) for i in range(1, 21))) for _ in submission.tokens[1:])
        deltas[0].prompt_logprobs = found if submission.sampling.prompt_logprobs is not None else ()
        return deltas

    service.deltas_of = deltas_of
    answer = await client.completions.create(
        model="tiny", prompt=[[300] * 100] * 4, n=2, extra_body={"prompt_logprobs": 20}
    )
    assert [len(choice.model_extra["prompt_logprobs"]) for choice in answer.choices] == [100] * 8
    assert all(len(entry) == 21 for choice in answer.choices for entry in choice.model_extra["prompt_logprobs"][1:])
    await until(lambda: b'pd_active_requests{api="completions"} 0.0' in metrics.render())


async def test_too_few_prompt_logprobs_are_an_error_of_the_server(
    client: AsyncOpenAI, service: ScriptedService, script: Script
) -> None:
    service.deltas = scored(script("one"), [5] * 90)
    for prompts in (1, 8):  # few are written at once, many in a thread
        with pytest.raises(InternalServerError):
            await client.completions.create(
                model="tiny", prompt=[[5] * 100] * prompts, extra_body={"prompt_logprobs": 2}
            )


@pytest.mark.parametrize(
    ("fields", "param", "remedy"),
    [
        ({"prompt_logprobs": 21}, "prompt_logprobs", "from 0 to 20"),
        ({"prompt_logprobs": -1}, "prompt_logprobs", "from 0 to 20"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", "remove one of them"),
        ({"prompt_logprobs": 20, "prompt": [[5] * 120] * 30}, "prompt_logprobs", "more than 65536"),
        ({"logprobs": 20, "echo": True, "prompt": [[5] * 120] * 30}, "echo", "more than 65536"),
    ],
)
async def test_prompt_logprobs_are_bounded(
    client: AsyncOpenAI, service: ScriptedService, fields: dict[str, Any], param: str, remedy: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await client.completions.create(**{"model": "tiny", "prompt": "hi", "extra_body": fields})  # type: ignore[arg-type]
    assert caught.value.param == param and remedy in caught.value.message
    assert not service.submissions


async def test_echo(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script(" two")
    answer = await client.completions.create(model="tiny", prompt="one 你好", echo=True)
    assert answer.choices[0].text == "one 你好 two" and answer.choices[0].logprobs is None
    assert service.submissions[0].sampling.prompt_logprobs is None


async def test_echo_with_logprobs(
    client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel
) -> None:
    prompt = text.encode("count to")
    service.deltas = scored(script(" forty", logprobs=True), prompt)
    answer = await client.completions.create(model="tiny", prompt="count to", echo=True, logprobs=2)
    choice = answer.choices[0]
    lists = choice.logprobs
    assert choice.text == "count to forty" and lists is not None
    assert "".join(lists.tokens or []) == "count to forty"
    assert lists.token_logprobs == [None, *[-1.0] * (len(prompt) - 1), *[-0.25] * len(text.encode(" forty"))]
    assert [choice.text[at:].startswith(t) for at, t in zip(lists.text_offset or [], lists.tokens or [], strict=True)]
    assert lists.top_logprobs is not None and lists.top_logprobs[0] is None and len(lists.top_logprobs[1]) >= 2
    assert service.submissions[0].sampling.prompt_logprobs == 2
