"""Keeps labels bounded: a metric must not grow with what clients send."""

from __future__ import annotations


class BoundedLabel:
    """Passes up to `limit` distinct values on and calls all others `other`."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit:
            return "other"
        self._seen.add(value)
        return value

    def forget(self, value: str) -> None:
        """Make room: the series of `value` are gone."""
        self._seen.discard(value)
