"""Greedy output equals transformers, token by token, however the engine got there."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.policies.admission.fcfs import FirstComeFirstServed
from orchestrator.policies.multiplexing.chunked import Chunked
from tests.engine.conftest import OUTPUT_TOKENS, Case, make_case, make_prompts
from tests.engine.driver import Outputs, drain, greedy, request, run
from workers.engine.torch.policy import FixedBudget

GREEDY = greedy(OUTPUT_TOKENS)


@pytest.mark.parametrize("prefix_cache", [False, True])
@pytest.mark.parametrize("budget", [1, 7, 33, 512])
def test_chunks_and_prefix_reuse(llama: Case, engine_of: Any, budget: int, prefix_cache: bool) -> None:
    engine = engine_of(llama, prefill_budget_tokens=budget, prefix_cache=prefix_cache)
    assert run(engine, llama.prompts, GREEDY) == llama.answers
    assert run(engine, llama.prompts, GREEDY) == llama.answers
    assert (engine.stats.cached_prompt_tokens > 0) == prefix_cache


def test_alone_equals_batched(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, prefix_cache=False)
    alone = [run(engine, [prompt], GREEDY)[0] for prompt in llama.prompts]
    assert alone == llama.answers


def test_batch_limit_makes_requests_wait(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, max_batch=2)
    for i, prompt in enumerate(llama.prompts):
        engine.submit(request(str(i), prompt, GREEDY))
    assert engine.stats.waiting == 8
    outputs = Outputs()
    outputs.add(engine.step())
    assert (engine.stats.running, engine.stats.waiting) == (2, 6)
    drain(engine, outputs)
    assert [outputs.tokens[str(i)] for i in range(8)] == llama.answers


@pytest.mark.parametrize("prefix_cache", [False, True])
def test_preempted_requests_are_recomputed(llama: Case, engine_of: Any, prefix_cache: bool) -> None:
    engine = engine_of(llama, kv_blocks=19, prefix_cache=prefix_cache)
    assert run(engine, llama.prompts, GREEDY) == llama.answers
    assert engine.stats.preemptions > 0


@pytest.mark.parametrize("block_tokens", [1, 5, 256])
def test_block_sizes(llama: Case, engine_of: Any, block_tokens: int) -> None:
    engine = engine_of(llama, block_tokens=block_tokens, kv_blocks=2048 // block_tokens)
    assert run(engine, llama.prompts, GREEDY) == llama.answers


def test_qwen3_with_tied_embeddings(qwen3: Case, engine_of: Any) -> None:
    engine = engine_of(qwen3, prefill_budget_tokens=50)
    assert run(engine, qwen3.prompts, GREEDY) == qwen3.answers


def test_cluster_policies_drive_the_engine(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, kv_blocks=19, max_batch=5, prefix_cache=False)
    engine.admission, engine.multiplexing = FirstComeFirstServed(), Chunked(budget_tokens=20, min_prefill_tokens=1)
    assert run(engine, llama.prompts, GREEDY) == llama.answers
    assert engine.stats.steps >= sum(map(len, llama.prompts)) / 20


def test_refused_prefill_cannot_stop_the_engine(llama: Case, engine_of: Any) -> None:
    """A policy that leaves prefill nothing is overruled when nothing decodes."""
    engine = engine_of(llama)
    engine.multiplexing = FixedBudget(0)
    assert run(engine, llama.prompts[:3], GREEDY) == llama.answers[:3]


def test_continuation_elsewhere(llama: Case, engine_of: Any) -> None:
    """Prompt and emitted tokens, given to a fresh engine, go on where the first one stopped."""
    engine = engine_of(llama)
    prompt, answer = llama.prompts[3], llama.answers[3]
    for emitted in (1, 9, OUTPUT_TOKENS - 1):
        engine.submit(request("a", prompt + answer[:emitted], GREEDY, first_index=emitted, attempt=emitted))
        tokens: list[int] = []
        while engine.has_work():
            for emission in engine.step():
                assert emission.first_index == emitted + len(tokens)
                tokens += emission.tokens
        assert tokens == answer[emitted:]


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "one kv head": ("llama", {"num_key_value_heads": 1}),
    "no grouping": ("llama", {"num_key_value_heads": 4}),
    "qwen2": ("qwen2", {}),
    "qwen3 biases": ("qwen3", {"attention_bias": True}),
    "linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 5000.0}}),
    "llama3": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 128,
            }
        },
    ),
    "yarn": (
        "qwen3",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 256,
            }
        },
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(tmp_path: Any, engine_of: Any, name: str) -> None:
    family, changes = VARIANTS[name]
    case = make_case(tmp_path, family, make_prompts((9, 40, 150)), shard="100KB", **changes)
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert run(engine_of(case), case.prompts, GREEDY) == case.answers
