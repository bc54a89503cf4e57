"""Initial weights of the demo model: what is known beforehand is put in, so that one core can learn the rest.

* A token and the same token after a space start as one vector plus one of two common directions.
* Numbers start with sines and cosines of their value, so that successor and comparison are close to linear maps.
* Two heads of the first layer start by looking at the previous token and at the one before it: induction needs them, and
  finding them by gradient descent takes most of the training time otherwise.
* The residual stream starts at unit scale; the final norm scales the logits of the tied embedding down again.
"""

from __future__ import annotations

import math

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from workers.demo.shape import HEAD_DIM
from workers.demo.tasks import MAX_NUMBER

_PERIODS = (2, 3, 4, 5, 7, 10, 13, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 640, 800)
_SHARP = 5.5  # scale of the planted queries and keys: the wanted token gets over 90 % of the attention
_FAST = 14  # rotary frequencies that tell neighbouring positions apart
_FINAL_NORM = 0.1


def _number_features(n: int) -> torch.Tensor:
    angles = torch.tensor([2 * math.pi * n / period for period in _PERIODS])
    return math.sqrt(2.0) * torch.cat([angles.cos(), angles.sin()])


def _embedding(tokenizer: Tokenizer, weight: torch.Tensor) -> None:
    weight.normal_(0.0, 1.0)
    spaced, bare = torch.randn(2, weight.shape[1])
    vocab = tokenizer.get_vocab()
    for n in range(MAX_NUMBER + 1):
        weight[vocab[f"Ġ{n}"], 1 : 1 + 2 * len(_PERIODS)] = _number_features(n)
    for piece, i in vocab.items():
        if f"Ġ{piece}" in vocab:
            base = weight[vocab[f"Ġ{piece}"]].clone()
            weight[i] = (base + 0.7 * bare) / math.hypot(1.0, 0.7)
            weight[vocab[f"Ġ{piece}"]] = (base + 0.7 * spaced) / math.hypot(1.0, 0.7)
    weight[:, 0] = 1.0  # the same in every token: what the planted heads read


def _look_back(model: LlamaForCausalLM) -> None:
    """Heads 0 and 1 of layer 0 (one KV head) attend one and two tokens back, whatever the tokens are."""
    attention = model.model.layers[0].self_attn
    half = HEAD_DIM // 2
    turn = 10000.0 ** (-torch.arange(half) / half)
    strength = (torch.arange(half) < _FAST).float() * _SHARP
    query, key = attention.q_proj.weight, attention.k_proj.weight
    key[: 2 * half, 0] = torch.cat([strength, torch.zeros(half)])
    for head, back in ((0, 1), (1, 2)):
        rotated = torch.cat([strength * torch.cos(turn * back), -strength * torch.sin(turn * back)])
        query[2 * half * head : 2 * half * (head + 1), 0] = rotated
    scale = model.config.hidden_size**-0.5
    attention.v_proj.weight[: 2 * half].normal_(0.0, scale)
    attention.o_proj.weight[:, : 4 * half].normal_(0.0, scale)


@torch.no_grad()
def initialise(model: LlamaForCausalLM, tokenizer: Tokenizer) -> None:
    """Set the initial weights in place, from torch's global random state."""
    _embedding(tokenizer, model.model.embed_tokens.weight)
    _look_back(model)
    model.model.norm.weight.fill_(_FINAL_NORM)
