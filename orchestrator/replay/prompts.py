"""Prompts of a given length, as token ids drawn from a seed."""

from __future__ import annotations

import numpy as np

from orchestrator.workload.schedule import Planned
from orchestrator.workload.trace import PREFIX_BLOCK_TOKENS

# Ids that nearly every tokenizer has as ordinary tokens, for endpoints that do not tell their vocabulary.
LOWEST_ID, FALLBACK_HIGHEST_ID = 10, 200


class Prompts:
    """Draws prompts. The same (seed, request) gives the same prompt, and equal prefix ids give equal tokens."""

    def __init__(self, seed: int, vocab_size: int | None) -> None:
        # Special tokens sit at either end of a vocabulary.
        highest = FALLBACK_HIGHEST_ID if vocab_size is None else int(vocab_size * 0.9)
        self._seed = seed
        self._low = min(LOWEST_ID, max(0, highest - 1))
        self._high = max(highest, self._low + 1)

    def ids(self, planned: Planned) -> list[int]:
        """`planned.input_tokens` ids."""
        out: list[int] = []
        for block in planned.prefix_ids:
            if len(out) >= planned.input_tokens:
                break
            out += self._draw(3, block & 0xFFFFFFFFFFFFFFFF, min(PREFIX_BLOCK_TOKENS, planned.input_tokens - len(out)))
        if len(out) < planned.input_tokens:
            out += self._draw(4, planned.index, planned.input_tokens - len(out))
        return out

    def _draw(self, stream: int, key: int, count: int) -> list[int]:
        draw = np.random.default_rng([self._seed, stream, key])
        drawn: list[int] = draw.integers(self._low, self._high, count).tolist()
        return drawn
