"""Shape of the demo model and the directory it is saved in."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from workers.demo.tokenizer import IM_END, PAD, save_tokenizer

HEAD_DIM = 64


def build_model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A fresh float32 model. 2 KV heads of 64 and 4 layers make a block of 16 tokens exactly 64 KiB in float32."""
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=HEAD_DIM,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(IM_END),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config)


def save(model: LlamaForCausalLM, directory: Path) -> None:
    """Write weights, configuration, tokenizer and chat template as a Hugging Face directory."""
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    save_tokenizer(directory)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["rope_theta"] = 10000.0  # readers older than `rope_parameters` look here
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    generation = {
        "do_sample": False,
        "eos_token_id": config["eos_token_id"],
        "pad_token_id": config["pad_token_id"],
    }
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def load(directory: Path) -> LlamaForCausalLM:
    """The model of a directory, in float32."""
    return LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32)
