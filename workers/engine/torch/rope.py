"""Rotary position embedding: inverse frequencies and their scalings, as transformers computes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from workers.engine.base import Invalid


@dataclass(frozen=True, slots=True)
class Rope:
    """Inverse frequencies (head_dim // 2 floats) and the factor that cos and sin are multiplied by."""

    inv_freq: tuple[float, ...]
    attention_factor: float = 1.0

    @classmethod
    def parse(cls, raw: Mapping[str, Any], head_dim: int, max_position_tokens: int) -> Rope:
        """From config.json: `rope_parameters`, or the older `rope_theta` and `rope_scaling`. Raises Invalid."""
        scaling = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        theta = float(scaling.get("rope_theta") or raw.get("rope_theta") or 10000.0)
        partial = scaling.get("partial_rotary_factor", raw.get("partial_rotary_factor", 1.0))
        if partial not in (None, 1, 1.0):
            raise Invalid(f"partial_rotary_factor {partial} is not supported: only 1")
        inverse = 1.0 / (theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim))
        try:
            if kind == "default":
                return cls(tuple(inverse.tolist()))
            if kind == "linear":
                return cls(tuple((inverse / float(scaling["factor"])).tolist()))
            if kind == "llama3":
                return cls(tuple(_llama3(inverse, scaling).tolist()))
            if kind == "yarn":
                return _yarn(scaling, theta, head_dim, max_position_tokens)
        except KeyError as missing:
            raise Invalid(f"rope scaling {kind!r} lacks {missing}") from None
        raise Invalid(f"rope scaling {kind!r} is not supported: use default, linear, llama3 or yarn")

    def table(self, tokens: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Cosines and sines of positions 0 … tokens - 1: shape (tokens, 2, head_dim // 2), computed in float32."""
        angle = torch.outer(torch.arange(tokens, dtype=torch.float32), torch.tensor(self.inv_freq, dtype=torch.float32))
        table = torch.stack((angle.cos(), angle.sin()), dim=1) * self.attention_factor
        return table.to(device=device, dtype=dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate halves. `x` is (tokens, heads, head_dim), `cos` and `sin` are (tokens, 1, head_dim // 2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _llama3(inverse: torch.Tensor, scaling: Mapping[str, Any]) -> torch.Tensor:
    """Llama 3.1: keep high frequencies, divide low ones by `factor`, blend between."""
    factor = float(scaling["factor"])
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    original = float(scaling["original_max_position_embeddings"])
    wavelength = 2 * math.pi / inverse
    smooth = (original / wavelength - low) / (high - low)
    blended = (1 - smooth) * inverse / factor + smooth * inverse
    out = torch.where(wavelength > original / low, inverse / factor, inverse)
    between = (wavelength <= original / low) & (wavelength >= original / high)
    return torch.where(between, blended, out)


def _yarn(scaling: Mapping[str, Any], theta: float, head_dim: int, max_position_tokens: int) -> Rope:
    """YaRN: interpolate slow dimensions, keep fast ones, and scale attention by the stretch."""
    factor = float(scaling["factor"])
    original = float(scaling.get("original_max_position_embeddings") or max_position_tokens)
    attention = scaling.get("attention_factor")
    if attention is None:
        mscale, all_dim = scaling.get("mscale"), scaling.get("mscale_all_dim")
        attention = _mscale(factor, mscale) / _mscale(factor, all_dim) if mscale and all_dim else _mscale(factor, 1.0)

    def dimension(rotations: float) -> float:
        return head_dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(float(scaling.get("beta_fast") or 32)), dimension(float(scaling.get("beta_slow") or 1))
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    span = (high - low) or 0.001
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / span).clamp(0, 1)
    frequency = theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    inverse = (1.0 / (factor * frequency)) * ramp + (1.0 / frequency) * (1 - ramp)
    return Rope(tuple(inverse.tolist()), float(attention))


def _mscale(factor: float, mscale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0
