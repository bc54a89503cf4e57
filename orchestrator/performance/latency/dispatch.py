"""When a device that is fed by a host ends: operators issued back to back, or one captured graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.performance.batch import Array

Number = TypeVar("Number", float, Array)


@dataclass(frozen=True, slots=True)
class Graphs:
    """Decode batches of up to max(`sizes`) requests are captured: one launch replaces all issues.

    An engine pads a batch to the next size; the truth model does that.
    """

    sizes: tuple[int, ...]

    @property
    def largest(self) -> int:
        """The largest captured batch, in requests."""
        return max(self.sizes, default=0)


def finish_s(
    before: Sequence[Number],
    after: Sequence[Number],
    context_s: Number,
    head_s: Number,
    layers: int,
    issue_s: float,
    maximum: Callable[[Number, Number], Number],
) -> Number:
    """Seconds until the device has run the operators `before` and `after` of every layer, then the head.

    An operator starts when the device is free and the host, which takes `issue_s` for each, has issued it. So the end is the
    maximum over operators k of (issue of k) + (work from k on), and with equal layers only the first or the last one holds it.
    Source: BestServe §3.2. `context_s`, the work at the end of `before` that grows with the decode context, counts where the
    device is busy throughout: the time is max(exact at no context, base + slope·context), less than one layer below the exact.
    """
    issued = issue_s
    work = before[0]
    lead = 0 * work + issue_s
    for operator_s in before[1:]:
        issued += issue_s
        lead = maximum(lead, issued - work)
        work = work + operator_s
    busy = lead
    for operator_s in after:
        issued += issue_s
        lead = maximum(lead, issued - work)
        work = work + operator_s
    idle = lead + work + (layers - 1) * maximum(work, 0 * work + issued)
    idle = maximum(idle, 0 * work + layers * issued + issue_s)
    return maximum(busy + layers * (work + context_s), idle) + head_s
