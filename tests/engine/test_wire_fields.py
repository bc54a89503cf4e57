"""Grammars and prompt log-probabilities keep their meaning on the wire: what was not asked for stays None."""

from __future__ import annotations

import pytest

from orchestrator.core.sampling import Sampling
from pd.v1 import worker_pb2 as pb
from workers.engine.base import Emission, Key, TokenLogprobs
from workers.process.messages import is_plain, sampling_from, tokens_to


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (pb.SamplingParameters(), (None, None, None)),
        (pb.SamplingParameters(json_schema="{}", prompt_logprobs=0), ("{}", None, 0)),
        (pb.SamplingParameters(regex="a+", prompt_logprobs=20), (None, "a+", 20)),
    ],
)
def test_sampling(message: pb.SamplingParameters, expected: tuple[str | None, str | None, int | None]) -> None:
    sampling: Sampling = sampling_from(message)
    assert (sampling.json_schema, sampling.regex, sampling.prompt_logprobs) == expected


def test_prompt_logprobs_and_errors() -> None:
    entries = [TokenLogprobs(-1.5, (7, 3), (-0.5, -1.5)), TokenLogprobs(-0.25)]
    message = tokens_to(Emission(Key("fd/a", 2), 0, [9], prompt_logprobs=entries))
    found = [(e.logprob, list(e.top_ids), list(e.top_logprobs)) for e in message.prompt_logprobs]
    assert found == [(-1.5, [7, 3], [-0.5, -1.5]), (-0.25, [], [])]
    assert not message.logprobs and list(message.tokens) == [9]
    assert not tokens_to(Emission(Key("fd/a", 2), 1, [9])).prompt_logprobs


def test_only_a_token_after_the_first_of_its_attempt_is_packed() -> None:
    key = Key("fd/a", 2)
    assert is_plain(Emission(key, 5, [9]))
    assert not is_plain(Emission(key, 5, [9], prefilled=True))
    assert not is_plain(Emission(key, 0, [9]))
