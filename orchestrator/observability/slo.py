"""Service levels that the metrics hold requests against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Objective(StrEnum):
    """A label of `pd_slo_attained_total`; `ALL` is what goodput counts."""

    TTFT = "ttft"
    TPOT = "tpot"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Slo:
    """Goals in seconds. Source: DistServe §2: a request counts when it meets both."""

    ttft_s: float
    tpot_s: float


NONE = Slo(float("inf"), float("inf"))
"""Goals that every answer meets."""
