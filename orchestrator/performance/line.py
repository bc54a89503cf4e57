"""Decode steps of a fixed set of requests, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A step that reads K tokens of context takes max(floor_s, base_s + per_context_token_s·K) seconds.

    Every request adds a token per step, so n requests that begin at K read K, K + n, K + 2n, … Slopes are never negative.
    """

    floor_s: float
    base_s: float
    per_context_token_s: float

    def step_s(self, context_tokens: float) -> float:
        """Seconds of one step."""
        return max(self.floor_s, self.base_s + self.per_context_token_s * context_tokens)

    def run_s(self, context_tokens: float, requests: float, steps: int) -> float:
        """Seconds of `steps` steps of `requests`, the first of which reads `context_tokens`."""
        first = self.base_s + self.per_context_token_s * context_tokens
        rise = self.per_context_token_s * requests
        if first >= self.floor_s:
            return steps * (first + rise * ((steps - 1) / 2))
        flat = self._flat(first, rise, steps)
        rest = steps - flat
        return flat * self.floor_s + rest * (first + rise * (flat + (rest - 1) / 2))

    def steps_within(self, context_tokens: float, requests: float, seconds: float) -> int:
        """How many whole steps end within `seconds`: the largest number whose `run_s` is no more."""
        first = self.base_s + self.per_context_token_s * context_tokens
        rise = self.per_context_token_s * requests
        if seconds < max(self.floor_s, first):
            return 0
        if first >= self.floor_s:
            # Never at the floor, the common case: r·(a - rise/2) + r²·rise/2 = seconds, a the first step.
            half = first - rise * 0.5
            found = int(2 * seconds / (half + math.sqrt(half * half + 2 * rise * seconds)))
            while found * (first + rise * ((found - 1) / 2)) > seconds:
                found -= 1
            while (found + 1) * (first + rise * (found / 2)) <= seconds:
                found += 1
            return found
        steps = math.floor(seconds / self.floor_s)
        flat = self._flat(first, rise, steps)
        if flat == steps:
            found = steps
        else:
            # Of the rest r: r·(a - rise/2) + r²·rise/2 = what is left, a the first step above the floor.
            left = seconds - flat * self.floor_s
            half = first + rise * (flat - 0.5)
            found = flat + math.floor(2 * left / (half + math.sqrt(half * half + 2 * rise * left)))
        while self.run_s(context_tokens, requests, found) > seconds:
            found -= 1
        while self.run_s(context_tokens, requests, found + 1) <= seconds:
            found += 1
        return found

    def _flat(self, first: float, rise: float, steps: int) -> int:
        """How many of the first `steps` steps are at the floor, which the first one is."""
        if rise <= 0 or first + rise * (steps - 1) < self.floor_s:
            return steps
        return min(steps, math.ceil((self.floor_s - first) / rise))
