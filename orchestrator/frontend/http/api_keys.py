"""API keys: `Authorization: Bearer KEY`, over HTTP and gRPC."""

from __future__ import annotations

import hashlib


class ApiKeys:
    """Compares digests, so that the time taken tells nothing about a key."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._digests = frozenset(_digest(key) for key in keys)

    def allow(self, authorization: str) -> bool:
        """True if no keys are set, or if this header value carries one of them."""
        if not self._digests:
            return True
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and _digest(key.strip()) in self._digests


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
