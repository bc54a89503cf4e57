"""The official OpenAI client against a real cluster."""

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
