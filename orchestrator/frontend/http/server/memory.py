"""Memory that the unfinished bodies of all connections share."""

from __future__ import annotations


class Memory:
    """Counts bytes up to `limit_bytes`."""

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Count `size_bytes`; False if that is more than the limit. They are counted either way."""
        self.used_bytes += size_bytes
        return self.used_bytes <= self.limit_bytes

    def give(self, size_bytes: int) -> None:
        self.used_bytes -= size_bytes
