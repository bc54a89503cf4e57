"""What the keys of one name use in this process, held against their limits."""

from __future__ import annotations

from orchestrator.frontend.auth.api_key import KeyLimits
from orchestrator.frontend.auth.bucket import Bucket
from orchestrator.frontend.service import Cause, ServiceError

BUSY_RETRY_S = 1.0


class Usage:
    """Constant size: two buckets and a count, whatever is sent. Times in seconds on one monotonic clock."""

    __slots__ = ("_limits", "_requests", "_tokens", "name", "running")

    def __init__(self, name: str, limits: KeyLimits, now_s: float) -> None:
        self.name = name
        self.running = 0
        self._limits = KeyLimits()
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self.limit(limits, now_s)

    def limit(self, limits: KeyLimits, now_s: float) -> None:
        """Hold other limits from now on; what was used stays used."""
        if limits != self._limits:
            self._limits = limits
            self._requests = _resized(self._requests, limits.requests_per_minute, now_s)
            self._tokens = _resized(self._tokens, limits.tokens_per_minute, now_s)

    def begin(self, now_s: float) -> None:
        """Count a request in; raises ServiceError and counts nothing where that is too many."""
        most = self._limits.concurrent
        if most is not None and self.running >= most:
            what = f"{self.name} has {self.running} requests in progress, which is its limit: wait for one to end"
            raise ServiceError(Cause.KEY_CONCURRENCY, what, BUSY_RETRY_S)
        if self._requests is not None and (wait_s := self._requests.take(1, now_s)):
            what = f"{self.name} may send {self._requests.per_minute:g} requests a minute: wait {wait_s:.1f} s"
            raise ServiceError(Cause.KEY_REQUESTS, what, wait_s)
        self.running += 1

    def end(self) -> None:
        self.running -= 1

    def take_tokens(self, tokens: int, now_s: float) -> None:
        """Count prompt and granted output; raises ServiceError and counts nothing where that is too much."""
        if self._tokens is not None and (wait_s := self._tokens.take(tokens, now_s)):
            what = (
                f"{self.name} may use {self._tokens.per_minute:g} tokens a minute, and this asks for {tokens} "
                f"(prompt and max_tokens): wait {wait_s:.1f} s, or ask for fewer"
            )
            raise ServiceError(Cause.KEY_TOKENS, what, wait_s)

    def give_tokens(self, tokens: int) -> None:
        if self._tokens is not None:
            self._tokens.give(tokens)


def _resized(bucket: Bucket | None, per_minute: float | None, now_s: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return Bucket(per_minute, now_s)
    bucket.resize(per_minute, now_s)
    return bucket
