"""Streams of tokens without text, where a server has them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from orchestrator.core.sampling import Sampling
from tests.vllm.driver import GREEDY, driving, request, tokens_of
from tests.vllm.server_double import GRAMMAR, ServerDouble, answer, serving
from workers.engine.vllm.address import Address
from workers.engine.vllm.bodies import COMPLETIONS, TOKENS, completion, token_stream
from workers.engine.vllm.client import HttpClient
from workers.engine.vllm.facts import streams_tokens

PROMPT = [3, 1, 4, 1, 5]


@pytest.fixture(params=[True, False], ids=["scale-out", "completions only"])
async def double(request: pytest.FixtureRequest) -> AsyncIterator[ServerDouble]:
    made = ServerDouble()
    made.scale_out = request.param
    async with serving(made):
        yield made


async def test_a_server_is_asked_whether_it_has_them(double: ServerDouble) -> None:
    client = HttpClient(Address.parse(double.url))
    assert await streams_tokens(client) is double.scale_out
    client.close()
    assert double.bodies == []


async def test_a_plain_request_takes_them_where_they_are(double: ServerDouble) -> None:
    async with driving(double) as driven:
        assert tokens_of(await driven.run(request("a", PROMPT))) == answer(PROMPT, 8)
    assert double.paths == [TOKENS if double.scale_out else COMPLETIONS]


@pytest.mark.parametrize("asked", [{"logprobs": 2}, {"regex": "a+"}, {"json_schema": "{}"}])
async def test_others_do_not(double: ServerDouble, asked: dict[str, object]) -> None:
    sampling = dataclasses.replace(GREEDY, **asked)
    async with driving(double) as driven:
        found = tokens_of(await driven.run(request("a", PROMPT, sampling)))
    assert found == (answer(PROMPT, 8) if "logprobs" in asked else [GRAMMAR + i for i in range(8)])
    assert double.paths == [COMPLETIONS]


def test_a_body_says_the_same_in_another_way() -> None:
    sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, top_k=7, seed=3, stop_token_ids=(2,), ignore_eos=True)
    body = completion("m", PROMPT, sampling, 4, 5)
    assert token_stream(body) == {
        "model": "m",
        "token_ids": PROMPT,
        "stream": True,
        "sampling_params": {
            "max_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 7,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": body["seed"],
            "stop_token_ids": (2,),
            "ignore_eos": True,
            "detokenize": False,
        },
    }
