"""How fast a worker gives each of its requests a token, and how fast it would with one request more."""

from __future__ import annotations

from dataclasses import dataclass, field

SAMPLE_S = 0.2
"""Shortest time over which tokens are counted."""
KEEP = 0.85
"""What a sample's weight is multiplied with when the next one comes."""
STALE_S = 5.0
"""Samples older than this say nothing about the present."""
LEAST_WEIGHT = 2.0


@dataclass(slots=True)
class Tempo:
    """Time per output token (TPOT) over the number of requests, as a straight line through what was lately seen.

    Fed with a worker's own count of tokens, so it holds whatever slows the worker down: its batch, prompts that it computes
    between the tokens, or others who use the machine. Times are those of one monotonic clock, in seconds.
    """

    _since_s: float = 0.0
    _tokens: int = 0
    _requests: int = 0
    _sampled_s: float = 0.0
    _sums: list[float] = field(default_factory=lambda: [0.0] * 5)

    def heard(self, now_s: float, requests: int, tokens: int) -> None:
        """The worker has generated `tokens` since it started, and `requests` generate now."""
        passed_s, made = now_s - self._since_s, tokens - self._tokens
        busy = requests > 0 and self._requests > 0
        if busy and made >= 0 and passed_s < SAMPLE_S:
            return
        if busy and made > 0 and passed_s < STALE_S:
            mean = (requests + self._requests) / 2
            self._sample(now_s, mean, passed_s * mean / made)
        self._since_s, self._tokens, self._requests = now_s, tokens, requests

    def tpot_s(self, now_s: float, requests: int) -> float:
        """TPOT that `requests` requests would see; 0 where nothing is known. Grows with `requests`, at most in proportion."""
        weight, x, y, xx, xy = self._sums
        if weight < LEAST_WEIGHT or now_s - self._sampled_s > STALE_S:
            return 0.0
        x, y = x / weight, y / weight
        spread, together = xx / weight - x * x, xy / weight - x * y
        most = y / x
        slope = min(max(together / spread, 0.0), most) if spread > 0.25 else most / 2
        return y + slope * (requests - x)

    def _sample(self, now_s: float, requests: float, tpot_s: float) -> None:
        keep = KEEP if now_s - self._sampled_s < STALE_S else 0.0
        values = (1.0, requests, tpot_s, requests * requests, requests * tpot_s)
        self._sums = [keep * old + value for old, value in zip(self._sums, values, strict=True)]
        self._sampled_s = now_s
