"""A circuit breaker per worker: one that keeps failing requests gets none for a while, then a single one on trial."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class BreakerState(StrEnum):
    """Closed takes requests, open takes none, half-open has one on trial."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Opens after `failures` within `window_s`; tries again after `open_s`, twice as long after every failed trial up to `most_s`."""

    failures: int = 5
    window_s: float = 10.0
    open_s: float = 2.0
    most_s: float = 30.0


@dataclass(slots=True)
class Breaker:
    """Times are those of one monotonic clock, handed in. The caller closes and opens the worker by `takes`."""

    limits: BreakerLimits = field(default_factory=BreakerLimits)
    state: BreakerState = BreakerState.CLOSED
    trial: str = ""
    """The request that is on trial while half-open."""
    _failed_s: deque[float] = field(default_factory=deque)
    _until_s: float = 0.0
    _open_s: float = 0.0

    def takes(self, now_s: float) -> bool:
        """Whether a request may be placed here. Turns an open breaker half-open when its time is over."""
        if self.state is BreakerState.OPEN and now_s >= self._until_s:
            self.state, self.trial = BreakerState.HALF_OPEN, ""
        return self.state is BreakerState.CLOSED or (self.state is BreakerState.HALF_OPEN and not self.trial)

    def placed(self, request_id: str) -> None:
        """A request was sent here; on a half-open breaker it is the trial."""
        if self.state is BreakerState.HALF_OPEN and not self.trial:
            self.trial = request_id

    def left(self, request_id: str) -> None:
        """A request went away without telling anything of the worker (cancelled, or failed elsewhere)."""
        if self.trial == request_id:
            self.trial = ""

    def succeeded(self, request_id: str) -> bool:
        """A request did here what it came for; True if that closed the breaker."""
        if self.state is not BreakerState.HALF_OPEN or self.trial != request_id:
            return False
        self.state, self.trial, self._open_s = BreakerState.CLOSED, "", 0.0
        self._failed_s.clear()
        return True

    def failed(self, now_s: float) -> bool:
        """The worker failed a request; True if that opened the breaker."""
        if self.state is BreakerState.OPEN:
            return False
        self._failed_s.append(now_s)
        while self._failed_s[0] < now_s - self.limits.window_s:
            self._failed_s.popleft()
        if self.state is BreakerState.CLOSED and len(self._failed_s) < self.limits.failures:
            return False
        self._open_s = min(2 * self._open_s or self.limits.open_s, self.limits.most_s)
        self._until_s = now_s + self._open_s
        self.state, self.trial = BreakerState.OPEN, ""
        self._failed_s.clear()
        return True
