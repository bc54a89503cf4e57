"""What a worker pushes of its load, and what of it other front doors have caused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Report:
    """Load as a worker pushed it, all front doors together; `generated_tokens` counts since it started.

    Not frozen: one is made for every push, and frozen ones cost thrice.
    """

    running: int
    waiting: int
    prefill_tokens: int
    context_tokens: int
    used_blocks: int
    total_blocks: int
    block_tokens: int
    step_time_s: float
    generated_tokens: int = 0


@dataclass(slots=True)
class Foreign:
    """Load of other front doors, as of the last push: what was pushed minus what our ledger held at that moment."""

    prefill_tokens: int = 0
    context_tokens: int = 0
    blocks: int = 0
