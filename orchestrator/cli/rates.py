"""Rates between two looks at a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cli.documents import Document

RECENT_S = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """Workers and requests at one moment of the monotonic clock, in seconds."""

    at_s: float
    workers: Sequence[Document]
    requests: Sequence[Document]


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second since the look before. A counter that went back (a restarted engine) counts from zero."""

    generated_tokens: dict[str, float]
    prompt_tokens: dict[str, float]
    pulled_bytes: float
    arrivals: float

    @classmethod
    def between(cls, old: Look | None, new: Look) -> Rates:
        """All zero where there was no look before, but for arrivals, which come from the ages of requests."""
        arrivals = sum(1 for r in new.requests if r["age_s"] < RECENT_S) / RECENT_S
        if old is None or new.at_s <= old.at_s:
            return cls({}, {}, 0.0, arrivals)
        before = {w["name"]: w for w in old.workers}
        elapsed_s = new.at_s - old.at_s

        def rate(field: str) -> dict[str, float]:
            out = {}
            for worker in new.workers:
                name, now = worker["name"], worker[field]
                was = before[name][field] if name in before else now
                out[name] = (now - was if now >= was else now) / elapsed_s
            return out

        return cls(rate("generated_tokens"), rate("prompt_tokens"), sum(rate("kv_bytes_pulled").values()), arrivals)
