"""Tiny models with random weights, and what transformers makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

VOCABULARY = 320
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
FAMILIES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


def save_model(directory: Path, family: str = "llama", shard: str = "1GB", **changes: Any) -> Any:
    """Write a model directory; returns the transformers model."""
    config_class, model_class = FAMILIES[family]
    shape = {**SHAPE, **changes}
    if family == "qwen2":
        del shape["head_dim"]
    torch.manual_seed(7)
    model = model_class(config_class(**shape)).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:  # ones and zeros would hide a norm or a bias that is not applied
            torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.3)
    model.save_pretrained(directory, max_shard_size=shard)
    return model


def reference(model: Any, prompt: list[int], count: int) -> tuple[list[int], list[float]]:
    """`count` greedy tokens from transformers, without an end token, and the gap between the two best logits of each."""
    tokens, gaps = list(prompt), []
    with torch.inference_mode():
        output = model(torch.tensor([tokens]), use_cache=True)
        for _ in range(count):
            best = output.logits[0, -1].topk(2)
            gaps.append(float(best.values[0] - best.values[1]))
            tokens.append(int(best.indices[0]))
            output = model(torch.tensor([tokens[-1:]]), past_key_values=output.past_key_values, use_cache=True)
    return tokens[len(prompt) :], gaps
