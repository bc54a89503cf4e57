"""The clock of a worker: what the policy asked for, and from when it holds."""

from __future__ import annotations

from orchestrator.policies.frequency.base import FrequencyPolicy

ENDLESS = 1 << 40
"""Steps that a decision without an end holds."""


class Clocks:
    """A change takes `delay_s`; until then the old clock stays. Source: VoltanaLLM §5."""

    def __init__(self, supported_mhz: tuple[int, ...], delay_s: float) -> None:
        self.mhz = max(supported_mhz)
        self._supported_mhz = supported_mhz
        self._delay_s = delay_s
        self._wanted_mhz = self.mhz
        self._from_s = 0.0
        self._settled: FrequencyPolicy | None = None

    def choose(self, policy: FrequencyPolicy, decode_tokens: int, prefill_tokens: int, now_s: float) -> tuple[int, int]:
        """The clock of an iteration that starts now, and for how many steps of an unchanged batch it is settled."""
        if policy is self._settled:
            return self.mhz, ENDLESS
        clock = policy.clock_mhz(self._supported_mhz, decode_tokens, prefill_tokens)
        if clock.mhz != self._wanted_mhz:
            self._wanted_mhz, self._from_s = clock.mhz, now_s + self._delay_s
        if self._wanted_mhz != self.mhz:
            if now_s < self._from_s:
                return self.mhz, 1
            self.mhz = self._wanted_mhz
        if clock.valid_steps:
            return self.mhz, clock.valid_steps
        self._settled = policy
        return self.mhz, ENDLESS
