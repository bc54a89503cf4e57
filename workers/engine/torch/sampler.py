"""Chooses next tokens: greedy, temperature, top-k, top-p, from counter-based random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from orchestrator.core.sampling import Sampling
from workers.engine.base import TokenLogprobs
from workers.engine.torch.grammar import Masks

GREEDY_BELOW = 1e-5
_GAMMA = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One token and, where asked for, its log-probability."""

    token: int
    logprobs: TokenLogprobs | None


def uniforms(seeds: npt.NDArray[np.uint64], indices: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """One number in [0, 1) per (seed, index), equal on every machine: SplitMix64 of both, top 53 bits."""
    with np.errstate(over="ignore"):
        mixed = _mix(_mix(seeds + _GAMMA) + (indices + np.uint64(1)) * _GAMMA)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample(
    logits: torch.Tensor, parameters: Sequence[Sampling], indices: Sequence[int], masks: Masks | None = None
) -> list[Sampled]:
    """One token per row of `logits` (n, vocab_size), float32. Row i is output token `indices[i]` of its request.

    A row's choice depends on that row alone, and keeps to its mask if it has one. Log-probabilities are those of the model, before
    masks, temperature and cuts.
    """
    choices = logits if masks is None else masks.apply(logits)
    tokens = choices.argmax(-1)
    drawn = [i for i, p in enumerate(parameters) if p.temperature >= GREEDY_BELOW]
    if drawn:
        rows = torch.tensor(drawn, device=logits.device)
        chosen = _draw(choices.index_select(0, rows), [parameters[i] for i in drawn], [indices[i] for i in drawn])
        tokens = tokens.index_copy(0, rows, chosen)
    ids: list[int] = tokens.tolist()
    found = _logprobs(logits, tokens, ids, parameters)
    return [Sampled(token, found.get(i)) for i, token in enumerate(ids)]


def _draw(logits: torch.Tensor, parameters: Sequence[Sampling], indices: Sequence[int]) -> torch.Tensor:
    """Invert the cumulative distribution in order of token ids, so that ties and sorts of a device never matter."""
    temperature = torch.tensor([p.temperature for p in parameters], device=logits.device)
    scaled = logits / temperature[:, None]
    cut = [i for i, p in enumerate(parameters) if 0 < p.top_k < logits.shape[1] or p.top_p < 1]
    if cut:
        rows = torch.tensor(cut, device=logits.device)
        some = scaled.index_select(0, rows)
        least = _least_kept(some, [parameters[i] for i in cut])
        scaled = scaled.index_copy(0, rows, some.masked_fill(some < least, -torch.inf))
    cumulative = scaled.double().softmax(-1).cumsum(-1)
    seeds = np.array([p.seed & 0xFFFFFFFFFFFFFFFF for p in parameters], np.uint64)
    numbers = torch.from_numpy(uniforms(seeds, np.array(indices, np.uint64))).to(logits.device)
    target = numbers[:, None] * cumulative[:, -1:]
    # right=True skips tokens of probability 0; the last sum exceeds every target, so the index is always valid.
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_max(logits.shape[1] - 1)


def _least_kept(scaled: torch.Tensor, parameters: Sequence[Sampling]) -> torch.Tensor:
    """The smallest logit (n, 1) that top-k, then top-p, keep. Tokens that tie with it stay."""
    vocabulary = scaled.shape[1]
    top_k = [p.top_k if 0 < p.top_k < vocabulary else vocabulary for p in parameters]
    ordered = scaled.topk(max(top_k), dim=-1).values
    rank = torch.arange(ordered.shape[1], device=scaled.device)
    allowed = rank < torch.tensor(top_k, device=scaled.device)[:, None]
    probability = ordered.masked_fill(~allowed, -torch.inf).double().softmax(-1)
    top_p = torch.tensor([p.top_p for p in parameters], device=scaled.device, dtype=torch.float64)
    kept = allowed & (probability.cumsum(-1) - probability < top_p[:, None])
    return ordered.gather(1, (kept.sum(-1, keepdim=True) - 1).clamp_min(0))


def _logprobs(
    logits: torch.Tensor, tokens: torch.Tensor, ids: Sequence[int], parameters: Sequence[Sampling]
) -> dict[int, TokenLogprobs]:
    wanted = [i for i, p in enumerate(parameters) if p.logprobs is not None]
    if not wanted:
        return {}
    rows = torch.tensor(wanted, device=logits.device)
    logprobs = logits.index_select(0, rows).log_softmax(-1)
    own = logprobs.gather(1, tokens.index_select(0, rows)[:, None])[:, 0].tolist()
    most = min(max(parameters[i].logprobs or 0 for i in wanted), logits.shape[1])
    top = logprobs.topk(most, dim=-1)
    top_ids, top_values = top.indices.tolist(), top.values.tolist()
    out = {}
    for at, i in enumerate(wanted):
        count = parameters[i].logprobs or 0
        out[i] = TokenLogprobs(own[at], tuple(top_ids[at][:count]), tuple(top_values[at][:count]))
    return out


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
