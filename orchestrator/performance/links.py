"""Links between workers, and how long a transfer takes on one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.performance.batch import Array


@dataclass(frozen=True, slots=True)
class Link:
    """`bytes_per_s` is the line rate of one direction; `latency_s` is paid once a transfer, software included."""

    name: str
    bytes_per_s: float
    latency_s: float
    source: str = ""


def transfer_s(
    link: Link, size_bytes: Array | float, *, efficiency: float = 1.0, sharers: Array | float = 1.0
) -> Array:
    """Seconds to move `size_bytes` (any shape) while `sharers` transfers split the link evenly; 0 where there is nothing.

    `efficiency` is the share of the line rate that is reached (0 to 1]. Source: BestServe §4.1 (KV bytes over bandwidth).
    """
    size = np.asarray(size_bytes, np.float64)
    seconds = link.latency_s + size * np.asarray(sharers, np.float64) / (link.bytes_per_s * efficiency)
    return np.where(size > 0, seconds, 0.0)
