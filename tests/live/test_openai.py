"""The official OpenAI client against a real cluster."""

import json
import re

import jsonschema
import openai
import pytest

pytestmark = pytest.mark.cluster
ASK = [{"role": "user", "content": "count to 40"}]
ANSWER = " ".join(map(str, range(1, 41)))


@pytest.fixture(scope="module")
def client(live):
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models(client):
    assert [model.id for model in client.models.list()] == ["demo"]


def test_chat(client):
    reply = client.chat.completions.create(model="demo", messages=ASK, temperature=0)
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_streaming_with_usage(client):
    chunks = list(
        client.chat.completions.create(
            model="demo", messages=ASK, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == ANSWER
    assert len(chunks) > 20
    assert chunks[-1].usage.completion_tokens >= 40


def test_logprobs(client):
    reply = client.chat.completions.create(
        model="demo", messages=ASK, temperature=0, logprobs=True, top_logprobs=3, max_tokens=5
    )
    entries = reply.choices[0].logprobs.content
    assert "".join(entry.token for entry in entries) == reply.choices[0].message.content
    assert all(
        len(entry.top_logprobs) == 3 and entry.top_logprobs[0].logprob == pytest.approx(entry.logprob)
        for entry in entries
    )


def test_stop_string_ends_the_request_on_the_workers(client, live):
    reply = client.chat.completions.create(model="demo", messages=ASK, temperature=0, stop=[" 7"])
    assert reply.choices[0].message.content == "1 2 3 4 5 6"
    assert reply.choices[0].finish_reason == "stop"
    live.wait("idle", live.idle, 5)


def test_completions_with_seed(client):
    def sample(seed):
        reply = client.completions.create(model="demo", prompt="count", max_tokens=24, temperature=1.5, seed=seed)
        return reply.choices[0].text

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(6)}) > 1


def test_errors(client):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="n"):
        client.chat.completions.create(model="demo", messages=ASK, n=0)
    with pytest.raises(openai.BadRequestError) as too_long:
        client.completions.create(model="demo", prompt="count " * 20000)
    assert too_long.value.code == "context_length_exceeded"


POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}, "name": {"enum": ["a", "b"]}},
    "required": ["x", "name"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "move", "parameters": POINT}}


@pytest.mark.parametrize("seed", [1, 2])
def test_json_schema(client, seed):
    form = {"type": "json_schema", "json_schema": {"name": "point", "schema": POINT, "strict": True}}
    reply = client.chat.completions.create(
        model="demo", messages=ASK, response_format=form, temperature=1.5, seed=seed, max_tokens=200
    )
    assert reply.choices[0].finish_reason == "stop"
    jsonschema.validate(json.loads(reply.choices[0].message.content), POINT)


def test_regex(client):
    outputs = {"structured_outputs": {"regex": "[a-f]{3}[0-9]{2}"}}
    reply = client.completions.create(model="demo", prompt="count", max_tokens=32, extra_body=outputs)
    assert re.fullmatch("[a-f]{3}[0-9]{2}", reply.choices[0].text)


def test_a_schema_that_cannot_be_enforced(client):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}
    with pytest.raises(openai.BadRequestError, match="nope"):
        client.chat.completions.create(model="demo", messages=ASK, response_format=form)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "move"}}])
def test_a_forced_tool(client, choice):
    reply = client.chat.completions.create(
        model="demo", messages=ASK, tools=[TOOL], tool_choice=choice, parallel_tool_calls=False, temperature=0
    )
    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, reply.choices[0].finish_reason) == ("move", "tool_calls")
    jsonschema.validate(json.loads(call.function.arguments), POINT)


def test_tools_that_the_model_does_not_know(client):
    with pytest.raises(openai.BadRequestError, match="has no tools"):
        client.chat.completions.create(model="demo", messages=ASK, tools=[TOOL])


def test_several_answers(client, live):
    reply = client.completions.create(model="demo", prompt="count", n=3, max_tokens=24, temperature=1.5, seed=5)
    alone = [
        client.completions.create(model="demo", prompt="count", max_tokens=24, temperature=1.5, seed=5 + i)
        for i in range(3)
    ]
    assert [choice.text for choice in reply.choices] == [answer.choices[0].text for answer in alone]
    assert reply.usage.completion_tokens == sum(answer.usage.completion_tokens for answer in alone)
    live.wait("idle", live.idle, 5)


def test_several_streams(client):
    chunks = client.chat.completions.create(model="demo", messages=ASK, n=2, temperature=0, stream=True)
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [ANSWER, ANSWER]


def test_a_client_that_leaves_several_streams(client, live):
    more = {"ignore_eos": True}
    chunks = client.chat.completions.create(
        model="demo", messages=ASK, n=4, stream=True, max_tokens=2000, extra_body=more
    )
    assert {next(chunks).choices[0].index for _ in range(12)} == {0, 1, 2, 3}
    chunks.close()
    live.wait("idle", live.idle, 10)


def test_prompt_logprobs_agree_with_the_output(client):
    """What a greedy answer's tokens had as output they have as prompt."""
    answer = client.completions.create(model="demo", prompt="count to 9", max_tokens=8, temperature=0, logprobs=1)
    text, said = "count to 9" + answer.choices[0].text, answer.choices[0].logprobs
    again = client.completions.create(model="demo", prompt=text, max_tokens=1, temperature=0, logprobs=1, echo=True)
    echoed = again.choices[0].logprobs
    start = echoed.tokens.index(said.tokens[0], len(echoed.tokens) - 1 - len(said.tokens))
    assert echoed.tokens[start : start + len(said.tokens)] == said.tokens
    found = echoed.token_logprobs[start : start + len(said.tokens)]
    assert found == pytest.approx(said.token_logprobs, abs=1e-3)
    asked = {"prompt_logprobs": 1}
    scored = client.completions.create(model="demo", prompt=text, max_tokens=1, temperature=0, extra_body=asked)
    entries = scored.choices[0].prompt_logprobs
    assert entries[0] is None and len(entries) == scored.usage.prompt_tokens


def test_responses(client):
    answer = client.responses.create(model="demo", input="count to 40", temperature=0)
    assert (answer.output_text, answer.status, answer.store) == (ANSWER, "completed", False)
    events = list(client.responses.create(model="demo", input=ASK, temperature=0, stream=True))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    assert events[-1].response.usage.output_tokens == answer.usage.output_tokens


def test_responses_with_a_schema(client):
    form = {"format": {"type": "json_schema", "name": "p", "schema": POINT}}
    answer = client.responses.create(model="demo", input="count", text=form, temperature=0)
    jsonschema.validate(json.loads(answer.output_text), POINT)


def test_text_generation_only(client):
    with pytest.raises(openai.NotFoundError, match="text generation only"):
        client.embeddings.create(model="demo", input="a")
