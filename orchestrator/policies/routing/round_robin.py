"""Each worker in turn, whatever its load.

What: cycles over the workers of each phase.
Inputs: roles, which workers accept work, free KV blocks.
Behaviour: takes the first candidate after the row chosen last, so each of n steady candidates gets every nth request.
    Prefill and decode cycle apart.
Parameters: none.
Source: common practice; the baseline of most routing papers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.core.cluster import ClusterView, Ints
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.policy import policy
from orchestrator.policies.routing.base import PrefixIndex
from orchestrator.policies.routing.candidates import decode_candidates, placement, prefill_candidates


@policy
@dataclass(slots=True)
class RoundRobin:
    """A `RoutingPolicy`."""

    _last_prefill: int = field(default=-1, init=False)
    _last_decode: int = field(default=-1, init=False)
    _first: int = field(default=0, init=False)

    def stagger(self, number: int) -> None:
        """See Staggered. Only where the cycles begin differs."""
        self._first = number

    def place_prefill(self, request: RequestView, view: ClusterView, prefix: PrefixIndex) -> Placement:
        found = prefill_candidates(request, view)
        if isinstance(found, Placement):
            return found
        rows, forced = found
        self._last_prefill = self._after(rows, self._last_prefill)
        return placement(self._last_prefill, view, forced or _reason(rows))

    def place_decode(self, request: RequestView, view: ClusterView, prefill_worker: int | None) -> Placement:
        found = decode_candidates(request, view, prefill_worker)
        if isinstance(found, Placement):
            return found
        rows, _ = found
        self._last_decode = self._after(rows, self._last_decode)
        return Placement(self._last_decode, _reason(rows))

    def _after(self, rows: Ints, last: int) -> int:
        if last < 0:
            return int(rows[self._first % rows.size])
        at = int(rows.searchsorted(last, "right"))
        return int(rows[at if at < rows.size else 0])


def _reason(rows: Ints) -> Reason:
    return Reason.ONLY_CANDIDATE if rows.size == 1 else Reason.ROUND_ROBIN
