"""CPU per token and per request, told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.frontdoor.measure import Run


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds. `whole_s` is all CPU per token of the shortest output, requests and idle work included: it needs no model."""

    token_s: float
    request_s: float
    whole_s: float


def costs(runs: Sequence[Run], idle_s: float) -> Costs:
    """Least squares of (CPU - idle CPU) = requests x request_s + tokens x token_s over runs of two or more output lengths.

    All runs keep the same number of streams going, so that as many tokens share a step in each; what differs is how many requests
    there are per token.
    """
    counts = np.array([[run.requests, run.tokens] for run in runs], float)
    cpu = np.array([run.cpu_s - idle_s * run.seconds for run in runs])
    request_s, token_s = np.linalg.lstsq(counts, cpu, rcond=None)[0]
    shortest = min(runs, key=lambda run: run.shape.tokens)
    return Costs(float(token_s), float(request_s), shortest.cpu_s / shortest.tokens)


def chosen(rounds: Sequence[Sequence[Run]], share: float) -> list[Run]:
    """Of each output length the run that stands at `share` (0: the cheapest, 0.5: the median) in CPU per token."""
    lengths: dict[int, list[Run]] = {}
    for run in (run for runs in rounds for run in runs):
        lengths.setdefault(run.shape.tokens, []).append(run)
    ordered = [sorted(runs, key=lambda run: run.cpu_s / run.tokens) for runs in lengths.values()]
    return [runs[int(share * (len(runs) - 1))] for runs in ordered]
