"""Log-probabilities of a prompt's own tokens, gathered while its chunks are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from workers.engine.base import TokenLogprobs
from workers.engine.torch.model import Decoder

MAX_PROMPT_LOGPROBS = 20
SLICE_BYTES = 32 << 20
"""Logits are held for as many tokens at a time as fit this."""


@dataclass(slots=True)
class PromptScores:
    """Entry i is that of prompt token i + 1, with `top` alternatives. What a preempted request has gathered it keeps."""

    prompt_tokens: int
    top: int
    entries: list[TokenLogprobs] = field(default_factory=list)

    def missing(self, start: int, end: int) -> range:
        """Positions of a computed chunk [start, end) whose hidden states tell the next entries."""
        return range(max(start, len(self.entries)), min(end, self.prompt_tokens - 1))


def score(model: Decoder, hidden: torch.Tensor, following: Sequence[int], top: int) -> list[TokenLogprobs]:
    """Log-probability of token `following[i]` after hidden state i (n, hidden_size), and of the `top` most likely ones."""
    step = max(1, SLICE_BYTES // (4 * model.config.vocab_size))
    out: list[TokenLogprobs] = []
    for first in range(0, len(hidden), step):
        logprobs = model.logits(hidden[first : first + step]).log_softmax(-1)
        tokens = torch.tensor(following[first : first + step], device=hidden.device)
        own = logprobs.gather(1, tokens[:, None])[:, 0].tolist()
        best = logprobs.topk(min(top, logprobs.shape[1]), dim=-1)
        rows = zip(own, best.indices.tolist(), best.values.tolist(), strict=True)
        out += [TokenLogprobs(value, tuple(ids), tuple(values)) for value, ids, values in rows]
    return out
