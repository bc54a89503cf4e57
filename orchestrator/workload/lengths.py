"""Prompt and output lengths of generated traces: log-normals like known workloads, constants, and mixes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.workload.weights import parse_weights, pick

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A number of tokens whose logarithm is normal, cut to 1 … `longest`. `sigma` 0 gives the median always."""

    median: float
    sigma: float
    longest: int

    def draw(self, draw: np.random.Generator, count: int) -> Ints:
        """`count` lengths in tokens."""
        values = self.median * np.exp(self.sigma * draw.standard_normal(count))
        return np.clip(np.rint(values), 1, self.longest).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Input and output of one workload; the two are drawn independently."""

    input: LogNormal
    output: LogNormal

    def draw(self, draw: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        """Input and output tokens of `count` requests."""
        return self.input.draw(draw, count), self.output.draw(draw, count)


@dataclass(frozen=True, slots=True)
class Mix:
    """Several workloads; each request belongs to one of them, with the given weight."""

    parts: tuple[Lengths, ...]
    weights: tuple[float, ...]

    def draw(self, draw: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        """Input and output tokens of `count` requests."""
        which = pick(draw, self.weights, count)
        drawn = np.array([part.draw(draw, count) for part in self.parts])
        rows = np.arange(count)
        return drawn[which, 0, rows], drawn[which, 1, rows]


# Azure and Mooncake: fitted to mean, median, P90 and P99 of the public traces, cut at their maximum.
# Source: Nexus §8 (LDC, ArXiv, ShareGPT): median and P95; cut above the published P99.
# Source: ARES §9 (reasoning, long-chat): medians, sigmas, cap of 32K and prompts of about 400 tokens; the prompts' spread is ours.
LENGTHS: Mapping[str, Lengths] = {
    "azure-code": Lengths(LogNormal(1440, 0.96, 7437), LogNormal(12.8, 1.24, 1899)),
    "azure-conversation": Lengths(LogNormal(1000, 0.64, 14050), LogNormal(134, 0.95, 1000)),
    "mooncake": Lengths(LogNormal(6909, 1.08, 126195), LogNormal(318, 0.48, 2000)),
    "ldc": Lengths(LogNormal(5461, 0.323, 10240), LogNormal(159, 0.46, 512)),
    "arxiv": Lengths(LogNormal(3575, 0.36, 7168), LogNormal(181, 0.413, 512)),
    "sharegpt": Lengths(LogNormal(432, 0.492, 1536), LogNormal(37, 1.421, 512)),
    "long-chat": Lengths(LogNormal(400, 0.3, 4096), LogNormal(2500, 1.1, 32768)),
    "reasoning": Lengths(LogNormal(400, 0.3, 4096), LogNormal(8000, 0.7, 32768)),
}


def parse_lengths(text: str) -> Mix:
    """`azure-code`, `2048/64` (constant input/output) or weighted `sharegpt:0.6,ldc:0.4`. Raises ValueError with the remedy."""
    weights = parse_weights(text)
    return Mix(tuple(_named(name) for name in weights), tuple(weights.values()))


def _named(name: str) -> Lengths:
    if name in LENGTHS:
        return LENGTHS[name]
    parts = name.split("/")
    if len(parts) == 2 and all(p.isascii() and p.isdigit() and 1 <= int(p) < 1 << 31 for p in parts):
        first, second = (LogNormal(int(p), 0.0, int(p)) for p in parts)
        return Lengths(first, second)
    raise ValueError(f"{name!r} is none of {', '.join(LENGTHS)}, nor INPUT/OUTPUT tokens such as 2048/64")
