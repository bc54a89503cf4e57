"""/tokenize, /detokenize and the endpoints that this cluster has not."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from orchestrator.frontend.text import TextModel
from orchestrator.observability import Metrics
from tests.frontend.conftest import MAX_LEN

TEXT = "one <|im_end|> 你好 " * 40
MESSAGES = [{"role": "user", "content": "count"}]


async def post(url: str, path: str, body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body) as response:
        return response.status, await response.json()


async def test_there_and_back(url: str, text: TextModel) -> None:
    status, found = await post(url, "/tokenize", {"model": "tiny", "prompt": TEXT})
    assert status == 200 and found["tokens"] == text.encode(TEXT)
    assert (found["count"], found["max_model_len"], found["token_strs"]) == (len(found["tokens"]), MAX_LEN, None)
    assert await post(url, "/detokenize", {"tokens": found["tokens"]}) == (200, {"prompt": TEXT})


async def test_nothing(url: str) -> None:
    assert (await post(url, "/tokenize", {"prompt": ""}))[1]["tokens"] == []
    assert (await post(url, "/detokenize", {"tokens": []}))[1] == {"prompt": ""}


async def test_token_strings(url: str, text: TextModel) -> None:
    _, found = await post(url, "/tokenize", {"prompt": "to x<|im_end|>", "return_token_strs": True})
    assert "".join(found["token_strs"]) == "toĠx<|im_end|>" and len(found["token_strs"]) == found["count"]


@pytest.mark.parametrize("generation", [True, False])
async def test_a_chat(url: str, text: TextModel, generation: bool) -> None:
    body = {"messages": MESSAGES, "add_generation_prompt": generation}
    _, found = await post(url, "/tokenize", body)
    assert found["tokens"] == text.encode(text.render_chat(MESSAGES, add_generation_prompt=generation))
    assert text.spell(found["tokens"]).endswith("assistant\n") is generation


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/tokenize", {"prompt": "a", "model": "other"}, 404, "model_not_found"),
        ("/tokenize", {}, 400, "missing_field"),
        ("/tokenize", {"prompt": ["a"]}, 400, "invalid_type"),
        ("/tokenize", {"prompt": "a", "messages": MESSAGES}, 400, "unknown_field"),
        ("/tokenize", {"messages": []}, 400, "invalid_type"),
        ("/tokenize", {"prompt": "a", "truncate": 3}, 400, "unknown_field"),
        ("/tokenize", [], 400, "invalid_json"),
        ("/detokenize", {"tokens": "a"}, 400, "invalid_type"),
        ("/detokenize", {"tokens": [1, "a"]}, 400, "invalid_type"),
        ("/detokenize", {"tokens": [400]}, 400, "invalid_value"),
        ("/detokenize", {"tokens": [-1]}, 400, "invalid_value"),
    ],
)
async def test_refused(url: str, path: str, body: Any, status: int, code: str, metrics: Metrics) -> None:
    found = await post(url, path, body)
    assert (found[0], found[1]["error"]["code"]) == (status, code)
    assert f'api="{path[1:]}",outcome="rejected",reason="{code}"'.encode() in metrics.render()


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", "/v1/embeddings", "embedding"),
        ("POST", "/v1/rerank", "ranking"),
        ("POST", "/score", "ranking"),
        ("POST", "/v1/moderations", "scores"),
        ("POST", "/v1/audio/transcriptions", "audio"),
        ("POST", "/v1/images/generations", "images"),
        ("GET", "/v1/files", "stores nothing"),
        ("POST", "/v1/batches", "stores nothing"),
        ("GET", "/v1/responses/resp_1", "stores nothing"),
        ("DELETE", "/v1/files/file-1", "stores nothing"),
    ],
)
async def test_text_generation_only(url: str, method: str, path: str, told: str) -> None:
    async with aiohttp.ClientSession() as session, session.request(method, url + path, json={}) as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"]) == (404, "unsupported_endpoint")
    assert "text generation only" in error["message"] and told in error["message"]
