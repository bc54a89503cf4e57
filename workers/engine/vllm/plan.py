"""Which legs a request takes through vLLM, and from which output index each produces tokens.

A leg after the first begins behind the tokens that are out already: they are part of its prompt. Two things stand in the way.
vLLM follows a grammar only from the first token that it produces itself, so a constrained request starts over and what it repeats
is compared and dropped. And a decode server pulls as many blocks as its prompt fills: where the prompt ends with its block, the
first token behind it lies in one that the prefill server would not have, so that leg produces two tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.engine.base import EngineRequest
from workers.engine.vllm.bodies import is_constrained


@dataclass(frozen=True, slots=True)
class Plan:
    """`prompt` goes to vLLM, whose first token has output index `index`; tokens that are out already follow in `repeated`."""

    prompt: list[int]
    index: int
    repeated: list[int]

    @property
    def remaining(self) -> int:
        """Index of the first token that nobody has seen."""
        return self.index + len(self.repeated)


def plan(request: EngineRequest) -> Plan:
    """How to go on with `request`."""
    tokens, first = list(request.tokens), request.first_index
    if first and is_constrained(request.sampling):
        return Plan(tokens[:-first], 0, tokens[-first:])
    return Plan(tokens, first, [])


def prefill_tokens(request: EngineRequest, prompt_tokens: int, block_tokens: int) -> int:
    """Tokens that the prefill leg of a handoff produces."""
    return 1 if is_constrained(request.sampling) or prompt_tokens % block_tokens else 2
