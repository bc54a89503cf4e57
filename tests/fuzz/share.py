"""How many bad requests are generated: TANDEM_FUZZ in all (500 where it is not set), split over the categories."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, settings

TOTAL = int(os.environ.get("TANDEM_FUZZ", "500"))
SHARES = {
    "json": 0.32,
    "bytes": 0.12,
    "framing": 0.12,
    "heads": 0.14,
    "pipelined": 0.08,
    "slow": 0.04,
    "grpc": 0.14,
    "process": 0.04,
}
SENT: Counter[str] = Counter()
"""Requests sent, by category."""
ANSWERS: Counter[str] = Counter()
"""What came back: a status, or `closed`."""


def share(category: str, per_example: int = 1) -> Any:
    """Settings of a property that sends `per_example` requests of `category` per example: the same ones in every run."""
    return settings(
        max_examples=max(1, -(-round(TOTAL * SHARES[category]) // per_example)),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
