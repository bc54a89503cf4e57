"""The decoder: embedding, layers of attention and gated MLP, norm and output head, as plain tensors and functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from workers.engine.torch.attention import PagedKv
from workers.engine.torch.attention_plan import AttentionPlan
from workers.engine.torch.config import ModelConfig
from workers.engine.torch.rope import rotate
from workers.engine.torch.weights import Weights


@dataclass(frozen=True, slots=True)
class Linear:
    """Weight (out, in) and an optional bias (out,)."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer. `qk_norm` is (heads + kv_heads, head_dim): query and key norms side by side, so both run as one."""

    input_norm: torch.Tensor
    qkv: Linear
    qk_norm: torch.Tensor | None
    out: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    down: Linear


class Decoder:
    """A loaded model. Tokens of all requests of a step are packed into one row dimension; attention alone tells them apart."""

    def __init__(self, config: ModelConfig, weights: Weights, max_tokens: int) -> None:
        """`max_tokens` bounds positions. Raises Invalid for missing tensors."""
        self.config = config
        vocabulary = (config.vocab_size, config.hidden_size)
        self._embedding = weights.take("model.embed_tokens.weight", vocabulary)
        self._layers = [_load_layer(config, weights, i) for i in range(config.layers)]
        self._norm = weights.take("model.norm.weight", (config.hidden_size,))
        self._head = self._embedding if config.tied_embeddings else weights.take("lm_head.weight", vocabulary)
        self._rope = config.rope.table(max_tokens, self._embedding.device, self._embedding.dtype)

    @classmethod
    def load(cls, model_dir: Path, device: torch.device, dtype: torch.dtype, max_tokens: int) -> Decoder:
        """Load a Hugging Face directory; raises Invalid."""
        config = ModelConfig.load(model_dir)
        with Weights(model_dir, device, dtype) as weights:
            return cls(config, weights, max_tokens)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, plan: AttentionPlan, kv: PagedKv) -> torch.Tensor:
        """Write the KV of `tokens` (n,) at `positions` (n,) and return normalised hidden states (n, hidden_size)."""
        config = self.config
        eps, width = config.rms_eps, (config.hidden_size,)
        query_heads, rotated_heads = config.heads, config.heads + config.kv_heads
        rope = self._rope.index_select(0, positions)
        cos, sin = rope[:, None, 0], rope[:, None, 1]
        x = F.embedding(tokens, self._embedding)
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(F.rms_norm(x, width, layer.input_norm, eps)).view(len(x), -1, config.head_dim)
            rotated = qkv[:, :rotated_heads]
            if layer.qk_norm is not None:
                rotated = F.rms_norm(rotated, (config.head_dim,), None, eps) * layer.qk_norm
            rotated = rotate(rotated, cos, sin)
            kv.write(index, plan, rotated[:, query_heads:], qkv[:, rotated_heads:])
            attended = kv.attend(
                index, plan, rotated[:, :query_heads], rotated[:, query_heads:], qkv[:, rotated_heads:]
            )
            x = x + layer.out(attended.flatten(1))
            gate, up = layer.gate_up(F.rms_norm(x, width, layer.mlp_norm, eps)).chunk(2, dim=-1)
            x = x + layer.down(F.silu(gate) * up)
        return F.rms_norm(x, width, self._norm, eps)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Float32 logits (n, vocab_size) of hidden states (n, hidden_size)."""
        return F.linear(hidden, self._head).float()


def _load_layer(config: ModelConfig, weights: Weights, index: int) -> Layer:
    prefix = f"model.layers.{index}"
    hidden, head_dim = config.hidden_size, config.head_dim
    q_width, kv_width, inner = config.heads * head_dim, config.kv_heads * head_dim, config.intermediate_size

    def linear(parts: list[tuple[str, int]], width: int, bias: bool) -> Linear:
        weight = torch.cat([weights.take(f"{prefix}.{name}.weight", (rows, width)) for name, rows in parts])
        if not bias:
            return Linear(weight)
        return Linear(weight, torch.cat([weights.take(f"{prefix}.{name}.bias", (rows,)) for name, rows in parts]))

    qk_norm = None
    if config.qk_norm:
        q = weights.take(f"{prefix}.self_attn.q_norm.weight", (head_dim,)).expand(config.heads, head_dim)
        k = weights.take(f"{prefix}.self_attn.k_norm.weight", (head_dim,)).expand(config.kv_heads, head_dim)
        qk_norm = torch.cat((q, k))
    attention = [("self_attn.q_proj", q_width), ("self_attn.k_proj", kv_width), ("self_attn.v_proj", kv_width)]
    return Layer(
        input_norm=weights.take(f"{prefix}.input_layernorm.weight", (hidden,)),
        qkv=linear(attention, hidden, config.qkv_bias),
        qk_norm=qk_norm,
        out=linear([("self_attn.o_proj", hidden)], q_width, config.o_bias),
        mlp_norm=weights.take(f"{prefix}.post_attention_layernorm.weight", (hidden,)),
        gate_up=linear([("mlp.gate_proj", inner), ("mlp.up_proj", inner)], hidden, config.mlp_bias),
        down=linear([("mlp.down_proj", hidden)], inner, config.mlp_bias),
    )
