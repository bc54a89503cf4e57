"""A request in the simulator: what policies see of it, what they do not, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.core.request import RequestState, RequestView

if TYPE_CHECKING:
    from orchestrator.simulator.migration import Migration
    from orchestrator.simulator.network import Transfer
    from orchestrator.simulator.worker import Worker


@dataclass(slots=True, eq=False)
class Job:
    """`output_tokens` is the truth; policies only see `view`. `order` is its age, `due_s` when its client sent it.

    `prefill` and `decode` are the workers of the current attempt, `leased` and `reserved` what each side holds for the handoff.
    `computed` counts the tokens of its context that have KV while it is in prefill.
    """

    order: int
    view: RequestView
    due_s: float
    output_tokens: int
    clipped: bool = False
    state: RequestState = RequestState.QUEUED
    attempt: int = 1
    emitted: int = 0
    first_token_s: float | None = None
    last_token_s: float = 0.0
    end_s: float | None = None
    error: str = ""
    prefill: Worker | None = None
    decode: Worker | None = None
    leased: bool = False
    reserved: bool = False
    attached: bool = False
    computed: int = 0
    migration: Migration | None = None
    transfer: Transfer | None = None
    hashes: list[int] = field(default_factory=list)

    @property
    def context_tokens(self) -> int:
        """Prompt and what was emitted: the tokens whose KV the next one needs."""
        return self.view.prompt_tokens + self.emitted

    @property
    def remaining_tokens(self) -> int:
        """Tokens to compute before the next one can be sampled, while in prefill."""
        return self.context_tokens - self.computed

    def emit(self, tokens: int, now_s: float) -> None:
        """Tokens reached the client, the last of them at `now_s`."""
        if self.first_token_s is None:
            self.first_token_s = now_s
        self.emitted += tokens
        self.last_token_s = now_s
        assert self.emitted <= self.output_tokens, f"request {self.view.request_id} was served beyond its end"
