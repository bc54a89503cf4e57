"""CPU per token and per request, told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.frontdoor.measure import Run


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds. `whole_s` is all CPU per token of the long shape, requests and idle work included: it needs no model."""

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
    long = max(run.shape.tokens for run in runs)
    long_runs = [run for run in runs if run.shape.tokens == long]
    whole_s = sum(run.cpu_s for run in long_runs) / sum(run.tokens for run in long_runs)
    return Costs(float(token_s), float(request_s), whole_s)
