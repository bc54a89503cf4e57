"""Service levels that the metrics hold requests against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Objective(StrEnum):
    """A label of `pd_slo_attained_total`; `ALL` is what goodput counts."""

    TTFT = "ttft"
    TPOT = "tpot"
    ALL = "all"


class TierGoals(Protocol):
    """What `cluster.yaml` says of a tier."""

    @property
    def ttft_ms(self) -> float: ...
    @property
    def tpot_ms(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Slo:
    """Goals in seconds. Source: DistServe §2: a request counts when it meets both."""

    ttft_s: float
    tpot_s: float


def slo_of(tier: TierGoals | None) -> Slo:
    """The goals of a tier; every answer meets those of none."""
    return NONE if tier is None else Slo(tier.ttft_ms / 1000, tier.tpot_ms / 1000)


NONE = Slo(float("inf"), float("inf"))
"""Goals that every answer meets."""
