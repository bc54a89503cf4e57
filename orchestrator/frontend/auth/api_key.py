"""One API key: never its text, only its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class KeyRole(StrEnum):
    """What a key opens."""

    USER = "user"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Bounds of one key in each front door process; None: none. Tokens are prompt and granted output."""

    requests_per_minute: float | None = None
    concurrent: int | None = None
    tokens_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`name` stands for the key in logs. Keys of one name share their limits, so that a key can be replaced under load."""

    digest: bytes
    role: KeyRole
    name: str
    limits: KeyLimits = KeyLimits()


def digest(key: str) -> bytes:
    """Keys are looked up by digest, so that the time taken tells nothing about them."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
