"""What became of one request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`REJECTED` means refused before any work was done (429, 503); `FAILED` everything else that did not end well."""

    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Measured from the scheduled arrival, in seconds. Times and gaps are empty unless the request completed.

    `gaps_s` are the pauses between deliveries after the first. `end_s` counts from the start of the run.
    """

    verdict: Verdict
    end_s: float
    tier: str = "default"
    input_tokens: int = 0
    output_tokens: int = 0
    ttft_s: float | None = None
    e2e_s: float | None = None
    gaps_s: tuple[float, ...] = ()
    ttft_slo_s: float | None = None
    tpot_slo_s: float | None = None
    error: str = ""
    clipped: bool = False

    @property
    def tpot_s(self) -> float | None:
        """Mean time per output token after the first; None for fewer than two tokens."""
        if self.ttft_s is None or self.e2e_s is None or self.output_tokens < 2:
            return None
        return (self.e2e_s - self.ttft_s) / (self.output_tokens - 1)

    @property
    def meets_slo(self) -> bool:
        """Whether it completed within all its bounds; a bound that is None is no bound."""
        if self.verdict is not Verdict.COMPLETED or self.ttft_s is None:
            return False
        if self.ttft_slo_s is not None and self.ttft_s > self.ttft_slo_s:
            return False
        return self.tpot_slo_s is None or (self.tpot_s or 0.0) <= self.tpot_slo_s

    @property
    def has_slo(self) -> bool:
        """Whether there is any bound to meet."""
        return self.ttft_slo_s is not None or self.tpot_slo_s is not None
