"""Sampling: what is kept, how often, and that nothing but (seed, index) decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.core.sampling import Finish, Sampling
from tests.engine.conftest import Case
from tests.engine.driver import drain, request
from workers.engine.base import TokenLogprobs
from workers.engine.torch.sampler import sample, uniforms

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5, -30.0])


def draws(count: int, **parameters: Any) -> np.ndarray:
    """Relative frequencies of the tokens of LOGITS."""
    rows = [Sampling(**{"seed": i, **parameters}) for i in range(count)]
    tokens = [s.token for s in sample(LOGITS.expand(count, -1), rows, [3] * count)]
    return np.bincount(tokens, minlength=len(LOGITS)) / count


def softmax(logits: torch.Tensor) -> np.ndarray:
    return logits.softmax(-1).numpy()


def test_uniforms_are_fixed_and_uniform() -> None:
    seeds, indices = np.meshgrid(np.arange(200, dtype=np.uint64), np.arange(200, dtype=np.uint64))
    numbers = uniforms(seeds.ravel(), indices.ravel())
    assert numbers.min() >= 0 and numbers.max() < 1
    counts = np.bincount((numbers * 20).astype(int), minlength=20)
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)
    assert len(np.unique(numbers)) == numbers.size
    for lag in (numbers.reshape(200, 200)[1:], numbers.reshape(200, 200)[:, 1:]):
        other = numbers.reshape(200, 200)[: lag.shape[0], : lag.shape[1]]
        assert abs(np.corrcoef(lag.ravel(), other.ravel())[0, 1]) < 0.03
    # A continuation on another version of this code must draw the same numbers.
    known = uniforms(np.array([0, 1, 2**64 - 1], np.uint64), np.array([0, 7, 123456], np.uint64))
    assert known.tolist() == [0.6524484863740322, 0.24696520214533768, 0.3224837789885414]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature(temperature: float) -> None:
    np.testing.assert_allclose(draws(20_000, temperature=temperature), softmax(LOGITS / temperature), atol=0.015)


def test_top_k_keeps_the_best() -> None:
    kept = LOGITS.clone()
    kept[[2, 3, 5]] = -torch.inf
    np.testing.assert_allclose(draws(20_000, top_k=3), softmax(kept), atol=0.015)


def test_top_p_keeps_the_token_that_crosses() -> None:
    """Probabilities, best first: 0.454 0.275 0.167 0.061 0.023."""
    kept = LOGITS.clone()
    kept[[2, 3, 5]] = -torch.inf
    np.testing.assert_allclose(draws(20_000, top_p=0.75), softmax(kept), atol=0.015)
    assert draws(500, top_p=0.4)[0] == draws(500, top_p=0.0)[0] == 1


def test_top_p_counts_within_top_k() -> None:
    """Of the best two, the first has 0.62."""
    assert draws(500, top_k=2, top_p=0.6)[0] == 1
    assert draws(500, top_k=2, top_p=0.63)[4] > 0.3


def test_greedy_and_top_k_one_agree() -> None:
    assert draws(50, temperature=0.0)[0] == draws(50, top_k=1)[0] == 1


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(40, 500, generator=generator) * 3
    random = np.random.default_rng(5)
    rows = [
        Sampling(
            temperature=float(random.choice([0, 0.7, 1.3])),
            top_k=int(random.choice([0, 5, 600])),
            top_p=float(random.choice([1, 0.8])),
            seed=int(random.integers(2**63)),
            logprobs=(None, 0, 4)[int(random.integers(3))],
        )
        for _ in range(40)
    ]
    together = sample(logits, rows, range(40))
    for i in range(40):
        (alone,) = sample(logits[i : i + 1], rows[i : i + 1], [i])
        assert alone.token == together[i].token
        asked, theirs = rows[i].logprobs, together[i].logprobs
        assert (alone.logprobs is None) == (theirs is None) == (asked is None)
        if alone.logprobs is not None and theirs is not None:
            assert alone.logprobs.top_ids == theirs.top_ids
            assert len(theirs.top_ids) == asked


def test_logprobs_are_the_models_own() -> None:
    (sampled,) = sample(LOGITS[None], [Sampling(temperature=0.3, top_k=2, seed=11, logprobs=3)], [0])
    expected = LOGITS.log_softmax(-1)
    logprobs = sampled.logprobs
    assert isinstance(logprobs, TokenLogprobs)
    assert logprobs.logprob == pytest.approx(float(expected[sampled.token]))
    assert logprobs.top_ids == (0, 4, 1)
    assert logprobs.top_logprobs == pytest.approx(expected[[0, 4, 1]].tolist())


@pytest.mark.parametrize("emitted", [1, 5])
def test_a_sampled_request_continues_the_same_elsewhere(llama: Case, engine_of: Any, emitted: int) -> None:
    sampling = Sampling(max_tokens=20, temperature=1.2, top_p=0.9, top_k=50, seed=2**63 + 5, ignore_eos=True)
    first, second = engine_of(llama), engine_of(llama, prefill_budget_tokens=11)
    first.submit(request("a", llama.prompts[4], sampling))
    whole = drain(first).tokens["a"]
    assert len(set(whole)) > 5
    second.submit(request("other", llama.prompts[1], Sampling(max_tokens=9, seed=1, ignore_eos=True)))
    second.submit(request("a", llama.prompts[4] + whole[:emitted], sampling, first_index=emitted))
    rest: list[int] = []
    while second.has_work():
        for emission in second.step():
            if emission.key.request_id == "a":
                assert emission.first_index == emitted + len(rest)
                rest += emission.tokens
    assert rest == whole[emitted:]


def test_logprobs_of_a_request(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama)
    prompt, answer = llama.prompts[1], llama.answers[1]
    sampling = Sampling(max_tokens=6, temperature=0.0, logprobs=3, ignore_eos=True)
    engine.submit(request("with", prompt, sampling))
    engine.submit(request("without", prompt, Sampling(max_tokens=6, temperature=0.0, ignore_eos=True)))
    outputs = drain(engine)
    with torch.inference_mode():
        logits = llama.model(torch.tensor([prompt + answer[:5]])).logits[0, len(prompt) - 1 :]
    expected = logits.log_softmax(-1).topk(3)
    assert outputs.tokens["with"] == answer[:6]
    assert [entry.top_ids for entry in outputs.logprobs["with"]] == [tuple(row) for row in expected.indices.tolist()]
    for entry, values in zip(outputs.logprobs["with"], expected.values.tolist(), strict=True):
        assert entry.logprob == entry.top_logprobs[0]
        assert entry.top_logprobs == pytest.approx(values, abs=1e-4)
    assert outputs.logprobs["without"] == []


def test_ends(llama: Case, engine_of: Any) -> None:
    """Stop tokens, end tokens and the length limits end a request; the stop token is the last one emitted."""
    prompt, answer = llama.prompts[2], llama.answers[2]
    position = next(i for i in range(3, 20) if answer[i] not in answer[:i] and 0 not in answer[: i + 1])
    engine = engine_of(llama)
    stop = Sampling(max_tokens=24, temperature=0.0, stop_token_ids=(answer[position],), ignore_eos=True)
    engine.submit(request("stop", prompt, stop))
    engine.submit(request("length", prompt, Sampling(max_tokens=2, temperature=0.0, ignore_eos=True)))
    outputs = drain(engine)
    assert outputs.tokens == {"stop": answer[: position + 1], "length": answer[:2]}
    assert outputs.finish == {"stop": Finish.STOP, "length": Finish.LENGTH}

    engine._eos = frozenset({answer[position]})
    engine.submit(request("eos", prompt, Sampling(max_tokens=24, temperature=0.0)))
    engine.submit(request("ignored", prompt, Sampling(max_tokens=24, temperature=0.0, ignore_eos=True)))
    outputs = drain(engine)
    assert outputs.tokens == {"eos": answer[: position + 1], "ignored": answer}
    assert outputs.finish == {"eos": Finish.STOP, "ignored": Finish.LENGTH}

    short = engine_of(llama, max_model_len=len(prompt) + 4)
    short.submit(request("model", prompt, Sampling(max_tokens=24, temperature=0.0, ignore_eos=True)))
    outputs = drain(short)
    assert (outputs.tokens["model"], outputs.finish["model"]) == (answer[:4], Finish.LENGTH)
