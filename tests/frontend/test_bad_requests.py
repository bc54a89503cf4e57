"""Every bad request gets its status, a stable code and a remedy."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.frontend.scripted import ScriptedService

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
TEXT: dict[str, Any] = {"model": "tiny", "prompt": "hi"}
JSON = {"Content-Type": "application/json"}


def chat(**changes: Any) -> bytes:
    return json.dumps(CHAT | changes).encode()


def text(**changes: Any) -> bytes:
    return json.dumps(TEXT | changes).encode()


def message(**fields: Any) -> bytes:
    return chat(messages=[fields])


BAD_CHAT: list[tuple[str, bytes, int, str, str]] = [
    ("broken JSON", b'{"model": "tiny",', 400, "invalid_json", "Send one JSON object"),
    ("not an object", b"[1, 2]", 400, "invalid_json", "must be a JSON object"),
    ("not UTF-8", b'{"model": "\xff"}', 400, "invalid_json", "encode the JSON as UTF-8"),
    ("NaN", b'{"model": "tiny", "temperature": NaN}', 400, "invalid_json", "plain JSON"),
    ("deep nesting", b"[" * 60000, 400, "invalid_json", "Send one plain JSON object"),
    ("body too large", b'{"x": "' + b"a" * 70000 + b'"}', 413, "body_too_large", "shorten the prompt"),
    ("no model", chat(model=None), 400, "missing_field", 'send "model": "tiny"'),
    ("model of the wrong type", chat(model=3), 400, "invalid_type", 'send the string "tiny"'),
    ("another model", chat(model="gpt-5"), 404, "model_not_found", "use 'tiny'"),
    ("no messages", json.dumps({"model": "tiny"}).encode(), 400, "missing_field", "send a list such as"),
    ("empty messages", chat(messages=[]), 400, "invalid_value", "send at least one message"),
    ("messages a string", chat(messages="hi"), 400, "invalid_type", "a list such as"),
    ("message a string", chat(messages=["hi"]), 400, "invalid_type", "an object with role and content"),
    (
        "unknown role",
        message(role="wizard", content="hi"),
        400,
        "invalid_value",
        "use system, developer, user, assistant or tool",
    ),
    ("no content", message(role="user"), 400, "missing_field", "send the text"),
    ("an image", message(role="user", content=[{"type": "image_url"}]), 400, "invalid_value", 'only {"type": "text"'),
    ("typo in a message", message(role="user", contents="hi"), 400, "unknown_field", "did you mean 'content'"),
    ("tool calls", message(role="assistant", content="", tool_calls=[{}]), 400, "invalid_value", "has no name"),
    ("refused by the template", message(role="user", content="forbidden"), 400, "invalid_value", "Use the roles"),
    ("half a surrogate", message(role="user", content="\ud800"), 400, "invalid_value", "send whole characters"),
    ("typo in a field", chat(max_token=3), 400, "unknown_field", "did you mean 'max_tokens'"),
    ("a field with a long name", chat(**{"x" * 50000: 3}), 400, "unknown_field", "remove it"),
    ("n = 0", chat(n=0), 400, "invalid_value", "from 1 to 8"),
    ("n = 9", chat(n=9), 400, "invalid_value", "from 1 to 8"),
    ("max_tokens = 0", chat(max_tokens=0), 400, "invalid_value", "use an integer from 1"),
    ("max_tokens a string", chat(max_tokens="5"), 400, "invalid_type", "send an integer"),
    ("two bounds", chat(max_tokens=5, max_completion_tokens=6), 400, "invalid_value", "send one of them"),
    ("no room for the output", chat(max_tokens=4000), 400, "context_length_exceeded", "lower max_tokens to at most"),
    (
        "prompt too long",
        message(role="user", content="ab " * 500),
        400,
        "context_length_exceeded",
        "shorten the prompt",
    ),
    ("temperature too high", chat(temperature=3), 400, "invalid_value", "from 0 to 2"),
    ("temperature true", chat(temperature=True), 400, "invalid_type", "send a number"),
    ("top_p = 0", chat(top_p=0), 400, "invalid_value", "above 0 and at most 1"),
    ("top_k = -2", chat(top_k=-2), 400, "invalid_value", "from -1"),
    ("seed a float", chat(seed=1.5), 400, "invalid_type", "send an integer"),
    ("five stop strings", chat(stop=list("abcde")), 400, "invalid_value", "at most 4"),
    ("empty stop string", chat(stop=""), 400, "invalid_value", "leave 'stop' out"),
    ("stop a number", chat(stop=3), 400, "invalid_type", "a string or a list of strings"),
    ("stop token outside", chat(stop_token_ids=[100000]), 400, "invalid_value", "correct the list"),
    ("stream a string", chat(stream="yes"), 400, "invalid_type", "true or false"),
    ("stream_options alone", chat(stream_options={"include_usage": True}), 400, "invalid_value", "'stream': true"),
    ("unknown stream option", chat(stream=True, stream_options={"usage": True}), 400, "unknown_field", "include_usage"),
    ("top_logprobs alone", chat(top_logprobs=2), 400, "invalid_value", "'logprobs': true"),
    ("too many logprobs", chat(logprobs=True, top_logprobs=21), 400, "invalid_value", "from 0 to 20"),
    ("a penalty", chat(frequency_penalty=0.5), 400, "unsupported_field", "neutral value"),
    ("logit bias", chat(logit_bias={"5": 1}), 400, "unsupported_field", "remove it"),
]
BAD_TEXT: list[tuple[str, bytes, int, str, str]] = [
    ("no prompt", text(prompt=None), 400, "missing_field", "send a string or a list of token ids"),
    ("empty prompt", text(prompt=""), 400, "invalid_value", "send at least one"),
    ("no tokens", text(prompt=[]), 400, "invalid_value", "send at least one"),
    ("too many prompts", text(prompt=["a"] * 33), 400, "invalid_value", "at most 32 answers"),
    ("too many answers", text(prompt=["a"] * 5, n=7), 400, "invalid_value", "at most 32 answers"),
    ("prompts of two kinds", text(prompt=["a", 1]), 400, "invalid_type", "a string or a list of token ids"),
    ("one prompt of several without tokens", text(prompt=[[1], []]), 400, "invalid_value", "at least one"),
    ("mixed prompt", text(prompt=[1, "a"]), 400, "invalid_type", "a string or a list of token ids"),
    ("token outside", text(prompt=[1, 400]), 400, "invalid_value", "use ids from 0 to 399"),
    ("negative token", text(prompt=[-1]), 400, "invalid_value", "use ids from 0"),
    ("logprobs true", text(logprobs=True), 400, "invalid_type", "send an integer"),
    ("echo of a stream", text(echo=True, stream=True), 400, "invalid_value", "remove one of them"),
    ("best_of", text(best_of=2), 400, "unsupported_field", "ask for 'n' answers and pick"),
    ("best_of below n", text(best_of=1, n=2), 400, "unsupported_field", "ask for 'n' answers and pick"),
    ("suffix", text(suffix="x"), 400, "unsupported_field", "remove it"),
    ("chat field", text(messages=[]), 400, "unknown_field", "remove it"),
]
CASES = [("/v1/chat/completions", *case) for case in BAD_CHAT] + [("/v1/completions", *case) for case in BAD_TEXT]


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "remedy"), [(p, *c) for p, _, *c in CASES], ids=[c[1] for c in CASES]
)
async def test_body(
    url: str, service: ScriptedService, path: str, body: bytes, status: int, code: str, remedy: str
) -> None:
    async with aiohttp.ClientSession() as session, session.post(url + path, data=body, headers=JSON) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (status, code), error
        assert remedy in error["message"], error
        assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
        assert response.headers["X-Request-Id"]
    assert not service.submissions


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code", "remedy"),
    [
        ("POST", "/v1/chat/completions", {"Content-Type": "text/plain"}, 415, "content_type", "application/json"),
        ("POST", "/v1/chat/completions", JSON | {"x-llm-d-slo-ttft-ms": "fast"}, 400, "invalid_header", "such as 250"),
        ("POST", "/v1/chat/completions", JSON | {"x-slo-tpot-ms": "-1"}, 400, "invalid_header", "milliseconds above 0"),
        (
            "POST",
            "/v1/chat/completions",
            JSON | {"x-llm-d-inference-objective": "gold"},
            400,
            "unknown_tier",
            "interactive",
        ),
        ("POST", "/v1/nothing", JSON, 404, "not_found", "/v1/responses"),
        ("GET", "/v1/completions", {}, 405, "method_not_allowed", "use POST"),
    ],
)
async def test_request(
    url: str, method: str, path: str, headers: dict[str, str], status: int, code: str, remedy: str
) -> None:
    body = chat() if method == "POST" else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, data=body, headers=headers) as response,
    ):
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (status, code)
        assert remedy in error["message"]


async def test_neutral_values_are_no_error(url: str, service: ScriptedService, script: Any) -> None:
    service.deltas = script("one")
    body = chat(
        n=1, frequency_penalty=0, presence_penalty=0.0, logit_bias={}, tools=[], response_format={"type": "text"}, stop=None,
        user="me", metadata={"a": "b"}, top_k=-1, max_tokens=5.0, store=False, stream_options=None,
    )  # fmt: skip
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/v1/chat/completions", data=body, headers=JSON) as response,
    ):
        assert response.status == 200, await response.text()
