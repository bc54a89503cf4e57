"""A request inside the engine."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from orchestrator.core.sampling import Finish
from workers.engine.base import EngineRequest, Key
from workers.engine.torch.grammar import Matcher
from workers.engine.torch.prefix import Prefix
from workers.engine.torch.prompt_scores import PromptScores


def blocks_for(tokens: int, block_tokens: int) -> int:
    """Blocks that hold the KV of `tokens` tokens."""
    return -(-tokens // block_tokens)


@dataclass(slots=True, eq=False)
class Running:
    """A request with what was sampled so far.

    `tokens` are given and sampled tokens; the KV of the first `computed` is in `blocks`. One token left to compute means
    decoding, more mean prefill, so chunks and recomputation need no states of their own. `order` is its age: smaller is older.
    `prefix` covers the full blocks of the given tokens, of which the first `remembered` are in the prefix cache.
    `scores` are the prompt's log-probabilities until they are reported; so long no cached block is used, since there are no
    hidden states for it. `prefilling` lasts from admission to the first token, for those that were not attached.
    """

    request: EngineRequest
    order: int
    arrival_s: float
    tokens: list[int]
    prefix: Prefix
    next_index: int
    computed: int = 0
    blocks: array[int] = field(default_factory=lambda: array("q"))
    remembered: int = 0
    cached_tokens: int = 0
    admitted: bool = False
    prefilling: bool = False
    matcher: Matcher | None = None
    scores: PromptScores | None = None

    @property
    def key(self) -> Key:
        """Its key."""
        return self.request.key

    @property
    def remaining_tokens(self) -> int:
        """Tokens to compute before the next one can be sampled."""
        return len(self.tokens) - self.computed

    @property
    def decoding(self) -> bool:
        """True if one token's KV is all that is missing."""
        return len(self.tokens) - self.computed == 1 and self.computed > 0

    def block_table(self) -> npt.NDArray[np.int64]:
        """Its blocks as an array; a copy, since a view would forbid `blocks` to grow."""
        return np.array(self.blocks, np.int64)

    def finish_of(self, token: int, eos_token_ids: frozenset[int], max_model_len: int) -> Finish | None:
        """Why `token`, just appended as output `next_index`, ends the request, if it does."""
        sampling = self.request.sampling
        if token in sampling.stop_token_ids or (token in eos_token_ids and not sampling.ignore_eos):
            return Finish.STOP
        if self.matcher is not None and self.matcher.done:
            return Finish.STOP
        if self.next_index + 1 >= sampling.max_tokens or len(self.tokens) >= max_model_len:
            return Finish.LENGTH
        return None
