"""Log-probabilities of the prompt equal those of one plain forward pass, however it was cut up."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from orchestrator.core.sampling import Sampling
from tests.engine.conftest import Case
from tests.engine.driver import drain, greedy, request, run
from tests.engine.test_handoff import copy, prefill
from workers.engine.base import Emission, Invalid, TokenLogprobs
from workers.engine.torch import TorchEngine, prompt_scores


def scored(top: int = 3, count: int = 3) -> Sampling:
    return Sampling(max_tokens=count, temperature=0.0, ignore_eos=True, prompt_logprobs=top)


def expect(case: Case, prompt: list[int], found: Any, top: int = 3) -> None:
    """Compare with transformers."""
    with torch.inference_mode():
        logprobs = case.model(torch.tensor([prompt])).logits[0, :-1].float().log_softmax(-1)
    best = logprobs.topk(max(top, 1))
    assert len(found) == len(prompt) - 1
    for i, entry in enumerate(found):
        assert isinstance(entry, TokenLogprobs)
        assert entry.logprob == pytest.approx(float(logprobs[i, prompt[i + 1]]), abs=2e-4)
        assert entry.top_logprobs == pytest.approx(best.values[i, :top].tolist(), abs=2e-4)
        assert [float(logprobs[i, token]) for token in entry.top_ids] == pytest.approx(
            list(entry.top_logprobs), abs=2e-4
        )


def emissions_of(engine: TorchEngine) -> dict[str, list[Emission]]:
    out: dict[str, list[Emission]] = {}
    while engine.has_work():
        for emission in engine.step():
            out.setdefault(emission.key.request_id, []).append(emission)
        engine.check_integrity()
    return out


@pytest.mark.parametrize("budget", [1, 7, 33, 512])
def test_equal_to_one_forward_pass(llama: Case, engine_of: Any, budget: int) -> None:
    """Mixed with requests that do not ask, after the cache has seen every prompt."""
    engine = engine_of(llama, prefill_budget_tokens=budget)
    run(engine, llama.prompts, greedy(1))
    for i, prompt in enumerate(llama.prompts):
        engine.submit(request(f"plain {i}", prompt, greedy(3)))
        engine.submit(request(f"scored {i}", prompt, scored()))
    found = emissions_of(engine)
    for i, prompt in enumerate(llama.prompts):
        first, *rest = found[f"scored {i}"]
        expect(llama, prompt, first.prompt_logprobs)
        assert first.cached_tokens == 0, "no hidden states come with cached blocks"
        assert all(not emission.prompt_logprobs for emission in (*rest, *found[f"plain {i}"]))
        assert [t for e in (first, *rest) for t in e.tokens] == llama.answers[i][:3]
    assert found["plain 7"][0].cached_tokens > 0


@pytest.mark.parametrize("top", [0, 1, 20])
def test_number_of_alternatives(llama: Case, engine_of: Any, top: int) -> None:
    engine = engine_of(llama)
    engine.submit(request("a", llama.prompts[0], scored(top)))
    expect(llama, llama.prompts[0], emissions_of(engine)["a"][0].prompt_logprobs, top)


def test_too_many_alternatives(llama: Case, engine_of: Any) -> None:
    with pytest.raises(Invalid, match="prompt_logprobs 21: this worker gives 0 to 20 alternatives"):
        engine_of(llama).submit(request("a", [1, 2], scored(21)))


def test_a_prompt_of_one_token_has_none(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama)
    engine.submit(request("a", [5], scored()))
    assert list(emissions_of(engine)["a"][0].prompt_logprobs) == []


def test_logits_are_held_for_few_tokens_at_a_time(llama: Case, engine_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(llama)
    monkeypatch.setattr(prompt_scores, "SLICE_BYTES", 5 * 4 * engine.vocab_size)
    model, held = engine._runner._model, []
    original = model.logits

    def watched(hidden: torch.Tensor) -> torch.Tensor:
        held.append(len(hidden))
        return original(hidden)

    monkeypatch.setattr(model, "logits", watched)
    engine.submit(request("a", llama.prompts[6], scored()))
    expect(llama, llama.prompts[6], emissions_of(engine)["a"][0].prompt_logprobs)
    assert max(held) == 5


def test_preempted_prompts_keep_what_they_have(llama: Case, engine_of: Any) -> None:
    """The younger gives its blocks up in the middle of its prompt and gets the rest of its log-probabilities later."""
    engine = engine_of(llama, kv_blocks=17, prefill_budget_tokens=4)
    engine.submit(request("older", llama.prompts[0], greedy(60)))
    for _ in range(6):
        engine.step()
    engine.submit(request("younger", llama.prompts[7], scored()))
    found = emissions_of(engine)
    assert engine.stats.preemptions > 0
    assert found["older"][-1].finish is not None
    expect(llama, llama.prompts[7], found["younger"][0].prompt_logprobs)


def test_the_prefill_side_of_a_handoff_tells_them(llama: Case, engine_of: Any) -> None:
    source, target = engine_of(llama), engine_of(llama)
    prompt = llama.prompts[2]
    emission = prefill(source, "a", prompt, scored())
    expect(llama, prompt, emission.prompt_logprobs)
    assert emission.lease is not None
    copy(source, emission.lease, target, target.reserve(emission.key, len(prompt)))
    target.attach(request("a", [*prompt, *emission.tokens], scored(), first_index=1), len(prompt))
    assert all(not e.prompt_logprobs for e in emissions_of(target)["a"])


def test_a_later_attempt_tells_them_only_if_none_was_told(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama)
    prompt, answer = llama.prompts[3], llama.answers[3]
    engine.submit(request("told", [*prompt, answer[0]], scored(), first_index=1, attempt=2))
    engine.submit(request("untold", prompt, scored(), attempt=2))
    found = emissions_of(engine)
    assert all(not e.prompt_logprobs for e in found["told"])
    expect(llama, prompt, found["untold"][0].prompt_logprobs)


def test_their_blocks_serve_later_requests(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama)
    engine.submit(request("scored", llama.prompts[6], scored()))
    drain(engine)
    engine.submit(request("plain", llama.prompts[6], greedy(3)))
    assert drain(engine).cached["plain"] == 112


def test_layout_of_the_pool(llama: Case, engine_of: Any) -> None:
    assert engine_of(llama, kv_blocks=24).kv_layout() == (
        "block, layer, 2, token, kv_head, head_dim = 24, 3, 2, 16, 2, 32"
    )
