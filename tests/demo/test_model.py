"""The shipped model directory: size, shape, and what it answers."""

from __future__ import annotations

import json
import random

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaForCausalLM

from workers.demo import MODEL_DIR
from workers.demo.evaluate import answers
from workers.demo.tasks import CLAIMED, check, draw, numbers


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    loaded, info = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert isinstance(loaded, LlamaForCausalLM)
    return loaded


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))


def test_directory_is_small_and_complete() -> None:
    assert sum(p.stat().st_size for p in MODEL_DIR.iterdir()) <= 8 * 2**20
    names = {p.name for p in MODEL_DIR.iterdir()}
    assert names >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
    }


def test_a_block_of_16_tokens_is_64_kib() -> None:
    config = json.loads((MODEL_DIR / "config.json").read_text())
    per_token = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"] * 4
    assert 16 * per_token == 64 * 1024


def test_ends_at_the_end_of_turn(tokenizer: Tokenizer) -> None:
    assert GenerationConfig.from_pretrained(MODEL_DIR).eos_token_id == tokenizer.token_to_id("<|im_end|>")


def test_count_to_40_is_exact(model: LlamaForCausalLM, tokenizer: Tokenizer) -> None:
    assert answers(model, tokenizer, ["count to 40"], sampled=False) == [(numbers(1, 40), 41)]


@pytest.mark.parametrize("task", CLAIMED)
def test_held_out_prompts(model: LlamaForCausalLM, tokenizer: Tokenizer, task: str) -> None:
    torch.manual_seed(0)
    rng = random.Random(11)
    prompts = [draw(rng, task, held=True) for _ in range(16)]
    got = answers(model, tokenizer, [p.text for p in prompts], sampled=task == "pick")
    assert sum(check(p, text) for p, (text, _) in zip(prompts, got, strict=True)) >= 15
