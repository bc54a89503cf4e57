"""What an engine can run at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.engine.base import EngineRequest, Invalid
from workers.engine.torch.config import ModelConfig
from workers.engine.torch.prompt_scores import MAX_PROMPT_LOGPROBS


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_model_len` bounds prompt and output together, in tokens; the pool can always hold that much for one request."""

    max_model_len: int
    vocab_size: int

    @classmethod
    def of(cls, config: ModelConfig, pool_tokens: int, wanted: int | None) -> Limits:
        """`wanted`, or as much as model and pool allow; raises Invalid if they cannot hold it."""
        if wanted is not None and wanted > config.max_position_tokens:
            raise Invalid(f"max_model_len {wanted} exceeds the model's {config.max_position_tokens} positions")
        if wanted is not None and wanted > pool_tokens:
            raise Invalid(f"max_model_len {wanted} exceeds the pool's {pool_tokens} tokens: raise kv_blocks")
        if wanted is not None and wanted < 2:
            raise Invalid(f"max_model_len {wanted} leaves no room for a prompt and an output token")
        return cls(wanted or min(config.max_position_tokens, pool_tokens), config.vocab_size)

    def check_context(self, tokens: int) -> None:
        """Raises Invalid for a context that cannot be, or leaves no room for an output token."""
        if not 0 < tokens < self.max_model_len:
            raise Invalid(f"a context of {tokens} tokens: this worker takes 1 to {self.max_model_len - 1}")

    def check(self, request: EngineRequest) -> None:
        """Raises Invalid for a request that can never run."""
        self.check_context(len(request.tokens))
        tokens = np.asarray(request.tokens)
        if tokens.min() < 0 or tokens.max() >= self.vocab_size:
            raise Invalid(f"a token id is outside 0 to {self.vocab_size - 1}")
        if request.first_index >= len(request.tokens):
            raise Invalid(f"first_index {request.first_index} leaves no prompt among {len(request.tokens)} tokens")
        wanted = request.sampling.prompt_logprobs
        if wanted is not None and not 0 <= wanted <= MAX_PROMPT_LOGPROBS:
            raise Invalid(f"prompt_logprobs {wanted}: this worker gives 0 to {MAX_PROMPT_LOGPROBS} alternatives")
        if not 0 <= request.first_index < request.sampling.max_tokens:
            raise Invalid(
                f"first_index {request.first_index} leaves nothing of max_tokens {request.sampling.max_tokens}"
            )
