"""What a simulated worker computes at the moment."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.performance.truth import Line
from orchestrator.simulator.job import Job


@dataclass(slots=True)
class Iteration:
    """What runs. `steps` decode steps of `requests`, or one iteration with `chunks` of prompts; `line` is None for the latter."""

    start_s: float
    end_s: float
    steps: int
    requests: int
    context_tokens: int
    line: Line | None
    factor: float
    clock_mhz: int
    chunks: list[tuple[Job, int]]
