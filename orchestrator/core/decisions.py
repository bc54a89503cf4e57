"""The decisions that policies return. Each carries a typed reason that logs, metrics and `pdctl explain` show as it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a policy decided what it did."""

    __hash__ = str.__hash__

    ROUND_ROBIN = "round_robin"
    LEAST_LOAD = "least_load"
    PREFIX_HIT = "prefix_hit"
    PREFIX_MISS = "prefix_miss"
    PREFIX_IMBALANCED = "prefix_imbalanced"
    ONLY_CANDIDATE = "only_candidate"
    NO_DECODE_WORKER = "no_decode_worker"
    NO_PREFILL_WORKER = "no_prefill_worker"
    NO_CAPACITY = "no_capacity"
    CO_LOCATED = "co_located"
    ARRIVAL_ORDER = "arrival_order"
    KV_FULL = "kv_full"
    BATCH_FULL = "batch_full"
    TOKEN_BUDGET = "token_budget"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Placement:
    """A worker for one phase of one request: a row of the view, or None when no worker may take it now."""

    worker: int | None
    reason: Reason
    detail: str = ""
    co_locate: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """Positions in the queue (as it was given) that may start now, in order, and why it stopped there."""

    admit: tuple[int, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class IterationPlan:
    """How one engine iteration is shared. The plan holds for `valid_steps` iterations of an unchanged batch (0: forever)."""

    prefill_budget_tokens: int
    reason: Reason
    valid_steps: int = 1
