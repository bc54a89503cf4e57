"""How a request ended, as a metrics label."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """`REJECTED` cost the workers nothing; `FAILED` did; `CANCELLED` is a client that went away or an operator."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
