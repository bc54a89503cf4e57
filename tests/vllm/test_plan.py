"""Which legs a request takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.sampling import Sampling
from tests.vllm.driver import GREEDY, request
from workers.engine.vllm.plan import Plan, plan, prefill_tokens

REGEX = replace(GREEDY, regex="a+")


def test_free_request_goes_on_behind_what_is_out() -> None:
    assert plan(request("a", [1, 2, 3])) == Plan([1, 2, 3], 0, [])
    way = plan(request("a", [1, 2, 3], first_index=2))
    assert way == Plan([1, 2, 3], 2, [])
    assert way.remaining == 2


def test_constrained_request_starts_over() -> None:
    assert plan(request("a", [1, 2, 3], REGEX)) == Plan([1, 2, 3], 0, [])
    way = plan(request("a", [1, 2, 3], REGEX, first_index=2))
    assert way == Plan([1], 0, [2, 3])
    assert way.remaining == 2


def test_plan_leaves_the_request_as_it_is() -> None:
    one = request("a", [1, 2, 3], REGEX, first_index=2)
    way = plan(one)
    way.prompt.append(9)
    del way.repeated[:]
    assert list(one.tokens) == [1, 2, 3]


@pytest.mark.parametrize(
    ("sampling", "prompt_tokens", "produced"),
    [(GREEDY, 15, 1), (GREEDY, 16, 2), (GREEDY, 17, 1), (GREEDY, 32, 2), (REGEX, 16, 1), (REGEX, 17, 1)],
)
def test_tokens_of_a_prefill_leg(sampling: Sampling, prompt_tokens: int, produced: int) -> None:
    assert prefill_tokens(request("a", [1], sampling), prompt_tokens, 16) == produced


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.integers(2, 64), st.booleans())
def test_decode_leg_never_wants_more_blocks_than_the_prefill_leg_has(
    prompt: int, block: int, constrained: bool
) -> None:
    """The last token that a leg produces has no KV yet; a decode server pulls as many blocks as its prompt fills."""
    produced = prefill_tokens(request("a", [1], REGEX if constrained else GREEDY), prompt, block)
    there = -(-(prompt + produced - 1) // block)
    wanted = -(-(prompt + (0 if constrained else produced)) // block)
    assert wanted == there
