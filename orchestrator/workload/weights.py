"""Weighted choices written as `a:0.3,b:0.7`: tiers and mixes of lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def parse_weights(text: str) -> dict[str, float]:
    """Names with their weights, in order; a name alone weighs 1. They need not add up to 1. Raises ValueError with the remedy."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, colon, given = part.strip().partition(":")
        try:
            weight = float(given) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not name or not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"{part!r} is not NAME:WEIGHT with a weight above 0")
        if name in weights:
            raise ValueError(f"{name!r} appears twice; give each name once")
        weights[name] = weight
    return weights


def pick(draw: np.random.Generator, weights: Sequence[float], count: int) -> npt.NDArray[np.int64]:
    """`count` places in `weights`, each as likely as it weighs."""
    edges = np.cumsum(weights)
    found = np.searchsorted(edges, draw.random(count) * edges[-1], side="right")
    return np.asarray(np.minimum(found, len(edges) - 1), np.int64)
