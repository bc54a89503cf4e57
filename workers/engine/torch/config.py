"""What a Hugging Face model directory says about its decoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.base import Invalid
from workers.engine.torch.rope import Rope

FAMILIES = ("llama", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of a decoder-only transformer with grouped-query attention and a gated SiLU MLP."""

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_position_tokens: int
    rms_eps: float
    rope: Rope
    tied_embeddings: bool
    qk_norm: bool
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    eos_token_ids: tuple[int, ...]

    @classmethod
    def load(cls, model_dir: Path) -> ModelConfig:
        """Read `config.json` and, for end tokens, `generation_config.json`; raises Invalid for what the engine cannot run."""
        raw = _read_json(model_dir / "config.json")
        generation_file = model_dir / "generation_config.json"
        generation = _read_json(generation_file) if generation_file.exists() else {}
        return cls.parse(raw, generation)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], generation: Mapping[str, Any] | None = None) -> ModelConfig:
        """Build from the two parsed files; raises Invalid."""
        family = raw.get("model_type")
        if family not in FAMILIES:
            raise Invalid(f"model_type {family!r} is not supported: use one of {', '.join(FAMILIES)}")
        activation = raw.get("hidden_act", "silu")
        if activation != "silu":
            raise Invalid(f"hidden_act {activation!r} is not supported: only silu")
        if raw.get("use_sliding_window"):
            raise Invalid("use_sliding_window is not supported: only full attention")
        hidden, heads = _integer(raw, "hidden_size"), _integer(raw, "num_attention_heads")
        kv_heads = int(raw.get("num_key_value_heads") or heads)
        if heads % kv_heads:
            raise Invalid(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}")
        head_dim = int(raw.get("head_dim") or (128 if family == "qwen3" else hidden // heads))
        max_position = int(raw.get("max_position_embeddings", 2048))
        attention_bias = bool(raw.get("attention_bias", False))
        return cls(
            family=family,
            vocab_size=_integer(raw, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_integer(raw, "intermediate_size"),
            layers=_integer(raw, "num_hidden_layers"),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            max_position_tokens=max_position,
            rms_eps=float(raw.get("rms_norm_eps", 1e-6)),
            rope=Rope.parse(raw, head_dim, max_position),
            tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
            qk_norm=family == "qwen3",
            qkv_bias=attention_bias or family == "qwen2",
            o_bias=attention_bias and family != "qwen2",
            mlp_bias=bool(raw.get("mlp_bias", False)) and family == "llama",
            eos_token_ids=_eos(raw, generation or {}),
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise Invalid(f"{path} does not exist: point at a Hugging Face model directory") from None
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise Invalid(f"{path} does not hold a JSON object")
    return value


def _integer(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    if not isinstance(value, int) or value <= 0:
        raise Invalid(f"config.json: {name} must be a positive integer, not {value!r}")
    return value


def _eos(raw: Mapping[str, Any], generation: Mapping[str, Any]) -> tuple[int, ...]:
    """End tokens of both files: chat models often list more of them in generation_config.json."""
    found: dict[int, None] = {}
    for value in (generation.get("eos_token_id"), raw.get("eos_token_id")):
        for token in value if isinstance(value, list) else [value]:
            if token is not None:
                found[int(token)] = None
    return tuple(found)
