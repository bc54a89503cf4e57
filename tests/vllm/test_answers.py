"""What completions say."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.sampling import Finish
from workers.engine.base import TokenLogprobs
from workers.engine.vllm.answers import NOTHING, AnswerError, Piece, error_text, parse, piece, prompt_logprobs


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": "", **fields}]}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"error": "plain"}', "plain"),
    ],
)
def test_what_is_no_answer(data: bytes, text: str) -> None:
    with pytest.raises(AnswerError, match=text):
        parse(data)


def test_text_that_is_shown_of_what_is_no_json_is_short() -> None:
    with pytest.raises(AnswerError) as raised:
        parse(b"x" * 10_000)
    assert len(str(raised.value)) < 400


def test_answer_with_an_empty_error_is_one() -> None:
    assert parse(b'{"error": null, "choices": []}') == {"error": None, "choices": []}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("plain", "plain"),
        ({"message": "a"}, "a"),
        ({"error": {"message": "a"}}, "a"),
        ({"error": {"error": {"detail": "a"}}}, "a"),
        ({"detail": [{"loc": ["body"]}]}, "[{'loc': ['body']}]"),
        ({"code": 3}, '{"code":3}'),
        ({}, "{}"),
        (None, "None"),
    ],
)
def test_message_of_an_error(error: Any, text: str) -> None:
    assert error_text(error) == text


def test_pieces() -> None:
    assert piece(choice(token_ids=[1, 2], finish_reason=None)) == Piece([1, 2], [], None)
    assert piece(choice(token_ids=[1], finish_reason="stop")) == Piece([1], [], Finish.STOP)
    assert piece(choice(token_ids=[], finish_reason="length")) == Piece([], [], Finish.LENGTH)
    assert piece(choice(finish_reason="length")) == Piece([], [], Finish.LENGTH)
    assert piece({"choices": [], "usage": {}}) == piece({}) == NOTHING


@pytest.mark.parametrize("reason", ["abort", "error", "repetition"])
def test_other_ends_are_failures(reason: str) -> None:
    with pytest.raises(AnswerError, match=f"vLLM ended the request: {reason}"):
        piece(choice(token_ids=[1], finish_reason=reason))


def test_server_that_returns_no_token_ids() -> None:
    with pytest.raises(AnswerError, match="return_token_ids"):
        piece(choice(finish_reason=None))


def test_log_probabilities_best_first_and_no_more_than_asked() -> None:
    """The sampled token is among the likeliest even where it is the third of two."""
    top = {"token_id:9": -3.0, "token_id:5": -0.1, "token_id:6": -2.0}
    logprobs = {"token_logprobs": [-3.0, -0.5], "top_logprobs": [top, {"token_id:1": -0.5}]}
    found = piece(choice(token_ids=[9, 1], finish_reason=None, logprobs=logprobs), 2).logprobs
    assert found == [TokenLogprobs(-3.0, (5, 6), (-0.1, -2.0)), TokenLogprobs(-0.5, (1,), (-0.5,))]
    none = piece(choice(token_ids=[9, 1], finish_reason=None, logprobs=logprobs), 0).logprobs
    assert none == [TokenLogprobs(-3.0), TokenLogprobs(-0.5)]
    missing = piece(choice(token_ids=[9], finish_reason=None, logprobs={"token_logprobs": [-3.0]}), 2).logprobs
    assert missing == [TokenLogprobs(-3.0)]


def test_log_probabilities_of_a_prompt() -> None:
    entries = [
        None,
        {"7": {"logprob": -4.0, "rank": 30}, "3": {"logprob": -0.2, "rank": 1}, "4": {"logprob": -1.0, "rank": 2}},
        {"8": {"logprob": -0.3, "rank": 1}, "2": {"logprob": -0.9, "rank": 2}},
    ]
    document = choice(prompt_token_ids=[5, 7, 8], prompt_logprobs=entries)
    assert prompt_logprobs(document, 2) == (
        TokenLogprobs(-4.0, (3, 4), (-0.2, -1.0)),
        TokenLogprobs(-0.3, (8, 2), (-0.3, -0.9)),
    )
    assert prompt_logprobs(document, 0) == (TokenLogprobs(-4.0), TokenLogprobs(-0.3))
    assert prompt_logprobs(choice(prompt_token_ids=[5], prompt_logprobs=[None]), 2) == ()
    assert prompt_logprobs(choice(prompt_logprobs=None), 2) == ()
