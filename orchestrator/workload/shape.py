"""What a user wants of a trace: which part of it, at which pace, how long its requests."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.workload.trace import TraceError


@dataclass(frozen=True, slots=True)
class Shape:
    """How to turn a trace into load.

    First a part of the trace is taken: what arrives from `start_s` on for `duration_s` (seconds of the trace, from its first arrival),
    without the first `skip` requests of that, and at most `requests`. Traces that are drawn as they are read give 100 requests where
    neither `requests` nor `duration_s` says.

    Then it is paced. `rate` (requests per second) stretches the arrivals to that mean and keeps their bursts; where the trace has none,
    arrivals are Poisson. `speedup` divides all gaps instead. Without both, arrivals stay as they are. An infinite rate sends all at once.

    `tiers` (`interactive:0.3,batch:0.7`) draws service tiers for requests that have none.
    """

    trace: str
    requests: int | None = None
    rate: float | None = None
    speedup: float | None = None
    seed: int = 0
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    skip: int = 0
    tiers: str | None = None


def check(shape: Shape) -> None:
    """Raise TraceError for a shape that makes no sense."""
    for name, value, infinite in (
        ("rate", shape.rate, True),
        ("speedup", shape.speedup, False),
        ("duration_s", shape.duration_s, False),
    ):
        if value is not None and not (value > 0 and (infinite or math.isfinite(value))):
            raise TraceError(f"{name} {value:g} is not above 0", shape.trace, "give a positive number")
    for name, count in (
        ("requests", shape.requests),
        ("max_input_tokens", shape.max_input_tokens),
        ("max_output_tokens", shape.max_output_tokens),
    ):
        if count is not None and count < 1:
            raise TraceError(f"{name} {count} is below 1", shape.trace, "give 1 or more")
    if not (shape.start_s >= 0 and math.isfinite(shape.start_s)):
        raise TraceError(
            f"start_s {shape.start_s:g} is not 0 or more", shape.trace, "give seconds after the first arrival"
        )
    for name, whole in (("skip", shape.skip), ("seed", shape.seed)):
        if whole < 0:
            raise TraceError(f"{name} {whole} is below 0", shape.trace, "give 0 or more")
    if shape.rate is not None and shape.speedup is not None:
        raise TraceError("rate and speedup both set the pace", shape.trace, "give one of them")
