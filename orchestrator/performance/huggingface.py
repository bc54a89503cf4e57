"""Reads the shape of a model from a Hugging Face config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.performance.error import CatalogError
from orchestrator.performance.model import ModelShape

# What families call a figure, most common name first.
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "num_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
INTERMEDIATE = ("intermediate_size", "ffn_dim", "n_inner")
VOCABULARY = ("vocab_size",)
MAX_TOKENS = ("max_position_embeddings", "n_positions", "seq_length", "n_ctx")
EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
LATENT = ("kv_lora_rank", "q_lora_rank")

# Families whose FFN has two matrices; all others are gated.
TWO_MATRICES = frozenset(
    ("opt", "bloom", "gpt_neox", "gpt2", "gptj", "gpt_bigcode", "phi", "falcon", "starcoder2", "mpt")
)
# Families whose output head is the embedding unless the config says otherwise.
TIED = frozenset(("opt", "bloom", "gpt2", "gpt_bigcode", "falcon", "mpt", "gemma", "gemma2", "gemma3_text"))
HEAD_DIM = {"qwen3": 128, "gemma": 256, "gemma2": 256, "gemma3_text": 256}


def read_shape(path: str | Path, name: str | None = None) -> ModelShape:
    """The shape in a config.json or in the directory that holds one. Raises CatalogError for what cannot be modelled."""
    file = Path(path)
    file = file / "config.json" if file.is_dir() else file
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogError("no such model", str(file), "give a model's directory or its config.json") from None
    except ValueError as error:
        raise CatalogError(
            f"the configuration is no JSON: {error}", str(file), "give a Hugging Face config.json"
        ) from error
    except OSError as error:
        raise CatalogError(f"cannot read the configuration: {error.strerror}", str(file), "check the path") from error
    if not isinstance(raw, dict):
        raise CatalogError("the configuration is no JSON object", str(file), "give a Hugging Face config.json")
    return shape(raw, name or file.parent.name or file.stem, str(file))


def shape(raw: Mapping[str, Any], name: str, where: str) -> ModelShape:
    """The shape that a parsed configuration describes. Raises CatalogError."""
    text = raw.get("text_config")
    if isinstance(text, dict):  # a model of text and images: its language part
        raw = {"tie_word_embeddings": raw.get("tie_word_embeddings"), **text}
    _must_be_dense(raw, where)
    family = str(raw.get("model_type", "")).lower()
    hidden, heads = _count(raw, HIDDEN, where), _count(raw, HEADS, where)
    kv_heads = _kv_heads(raw, heads, where)
    if heads % kv_heads:
        raise CatalogError(f"{heads} heads are no multiple of {kv_heads} KV heads", where, "correct the configuration")
    tied = raw.get("tie_word_embeddings")
    return ModelShape(
        name=name,
        layers=_count(raw, LAYERS, where),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_count(raw, ("head_dim",), where, HEAD_DIM.get(family, max(hidden // heads, 1))),
        intermediate=_count(raw, INTERMEDIATE, where, 4 * hidden if family in TWO_MATRICES else None),
        vocabulary=_count(raw, VOCABULARY, where),
        max_tokens=_count(raw, MAX_TOKENS, where, 2048),
        gated=family not in TWO_MATRICES,
        tied_embeddings=family in TIED if tied is None else bool(tied),
        source=where,
    )


def _must_be_dense(raw: Mapping[str, Any], where: str) -> None:
    for field in EXPERTS:
        if isinstance(raw.get(field), int) and raw[field] > 1:
            what = f"mixtures of experts are not modelled ({field} = {raw[field]})"
            raise CatalogError(what, where, "choose a dense model")
    for field in LATENT:
        if raw.get(field):
            what = f"multi-head latent attention is not modelled ({field} = {raw[field]})"
            raise CatalogError(what, where, "choose a model with grouped-query attention")


def _kv_heads(raw: Mapping[str, Any], heads: int, where: str) -> int:
    if raw.get("multi_query") and not raw.get("new_decoder_architecture"):
        return 1
    return _count(raw, KV_HEADS, where, heads)


def _count(raw: Mapping[str, Any], names: tuple[str, ...], where: str, default: int | None = None) -> int:
    """The first of `names` that is set, a positive whole number."""
    name = next((n for n in names if raw.get(n) is not None), None)
    if name is None:
        if default is not None:
            return default
        raise CatalogError(f"{names[0]} is missing", where, "give the config.json of a decoder-only model")
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise CatalogError(f"{name} = {value!r} is wrong", where, "make it a whole number above 0")
    return value
