"""Which service tier each request has, drawn by weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from orchestrator.workload.trace import TraceRequest
from orchestrator.workload.weights import pick

CHUNK = 1024


def with_tiers(
    rows: Iterable[TraceRequest], weights: Mapping[str, float], draw: np.random.Generator, rotate_s: float | None = None
) -> Iterator[TraceRequest]:
    """`rows` with a tier where they have none.

    With `rotate_s`, each tier takes its successor's weight every so many seconds of arrival time: a shifting mix (PolyServe §6).
    """
    names = list(weights)
    slots = _slots(list(weights.values()), draw)
    for row, slot in zip(rows, slots, strict=False):
        if row.tier is None:
            turn = math.floor((row.arrival_s or 0.0) / rotate_s) if rotate_s else 0
            yield replace(row, tier=names[(slot - turn) % len(names)])
        else:
            yield row


def _slots(weights: list[float], draw: np.random.Generator) -> Iterator[int]:
    while True:
        yield from pick(draw, weights, CHUNK).tolist()
