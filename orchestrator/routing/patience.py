"""How long a request that arrives now would wait for its first token, from how fast prompts have been dealt with."""

from __future__ import annotations

from dataclasses import dataclass

MEMORY = 0.95
"""Weight of the past at each first token: about the last twenty count."""

TURN_TOKENS = 256
"""A short prompt takes about as long as one of a few hundred tokens: as long as it takes to read the weights."""


@dataclass(slots=True)
class Patience:
    """Counts prompt tokens whose request waits for its first token, in a queue or in a prefill.

    The pace is the time per prompt token while somebody waited, so an idle cluster is not taken for a slow one. Every prompt counts
    for TURN_TOKENS more than it has. Times are those of one monotonic clock, handed in.
    """

    waiting: int = 0
    _waiting_tokens: int = 0
    _served_tokens: float = 0.0
    _busy_s: float = 0.0
    _last_s: float = 0.0

    def arrived(self, tokens: int, now_s: float) -> None:
        """A request with a prompt of `tokens` begins to wait."""
        if not self.waiting:
            self._last_s = now_s
        self.waiting += 1
        self._waiting_tokens += tokens + TURN_TOKENS

    def served(self, tokens: int, now_s: float) -> None:
        """One of them got its first token."""
        self._busy_s = MEMORY * self._busy_s + now_s - self._last_s
        self._served_tokens = MEMORY * self._served_tokens + tokens + TURN_TOKENS
        self._last_s = now_s
        self.left(tokens)

    def left(self, tokens: int) -> None:
        """One of them gave up."""
        self.waiting -= 1
        self._waiting_tokens -= tokens + TURN_TOKENS

    def wait_s(self, tokens: int) -> float:
        """Time to the first token of a request with a prompt of `tokens` that arrives now; 0 where nobody waits."""
        if not self.waiting or not self._served_tokens:
            return 0.0
        return (self._waiting_tokens + tokens + TURN_TOKENS) * self._busy_s / self._served_tokens
