"""Bodies of completions, and the legs that a request takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from orchestrator.core.sampling import Sampling
from workers.engine.vllm.bodies import completion, is_constrained, leg_seed

GREEDY = Sampling(temperature=0.0)


def body(sampling: Sampling, index: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = orjson.loads(orjson.dumps(completion("m", [1, 2], sampling, index, 7)))
    return made


def test_greedy_body_has_no_seed() -> None:
    made = body(GREEDY)
    assert (made["model"], made["prompt"], made["max_tokens"], made["temperature"]) == ("m", [1, 2], 7, 0.0)
    absent = ("seed", "stop_token_ids", "ignore_eos", "logprobs", "structured_outputs", "stream", "prompt_logprobs")
    assert not made.keys() & set(absent)


def test_defaults_of_the_models_generation_config_are_overruled() -> None:
    made = body(GREEDY)
    neutral = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert neutral.items() <= made.items()
    assert (made["top_p"], made["top_k"]) == (1.0, 0)


@pytest.mark.parametrize("most", [0, 5])
def test_log_probabilities_name_tokens_by_id(most: int) -> None:
    made = body(replace(GREEDY, logprobs=most))
    assert (made["logprobs"], made["return_tokens_as_token_ids"]) == (most, True)


def test_grammars() -> None:
    schema = '{"type": "object", "properties": {"a": {"type": "string"}}}'
    assert body(replace(GREEDY, json_schema=schema))["structured_outputs"] == {"json": orjson.loads(schema)}
    assert body(replace(GREEDY, regex="a|b"))["structured_outputs"] == {"regex": "a|b"}
    assert [is_constrained(s) for s in (GREEDY, replace(GREEDY, json_schema="{}"), replace(GREEDY, regex=""))] == [
        False,
        True,
        True,
    ]


def test_seed_of_a_leg_depends_on_where_it_begins() -> None:
    sampled = Sampling(seed=5)
    assert body(sampled)["seed"] == 5
    assert body(sampled, 3)["seed"] == leg_seed(5, 3) != leg_seed(5, 4)
    assert leg_seed(2**64 - 1, 0) == 2**63 - 1
