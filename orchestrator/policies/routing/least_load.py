"""The worker with the least work before it.

What: joins the shortest queue, measured in tokens.
Inputs: outstanding prompt tokens (prefill); KV blocks in use and decode context (decode); free KV blocks.
Behaviour: prefill goes where the fewest prompt tokens wait, decode where KV in use plus context is smallest; a worker of
    both roles counts both for its prompts. Equals take turns by a counter that the policy keeps.
Parameters: none.
Source: join-the-shortest-queue; token counts as in Llumnix (OSDI '24) and vLLM production-stack routers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.core.cluster import ClusterView, Ints
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.policy import policy
from orchestrator.policies.routing.base import PrefixIndex
from orchestrator.policies.routing.candidates import place_decode, place_prefill
from orchestrator.policies.routing.load import decode_load_tokens, lightest, prefill_load_tokens


@policy
@dataclass(slots=True)
class LeastLoad:
    """A `RoutingPolicy`."""

    _prefill_turn: int = field(default=0, init=False)
    _decode_turn: int = field(default=0, init=False)
    _salt: int = field(default=0, init=False)

    def stagger(self, number: int) -> None:
        """See Staggered."""
        self._salt = number

    def place_prefill(self, request: RequestView, view: ClusterView, prefix: PrefixIndex) -> Placement:
        def pick(barrier: Ints, decodes: bool) -> tuple[int, Reason, str]:
            row = lightest(prefill_load_tokens(view, decodes) + barrier, self._prefill_turn, self._salt)
            return row, Reason.LEAST_LOAD, f"{view.outstanding_prefill_tokens.item(row)} prompt tokens waiting"

        placed = place_prefill(request, view, pick)
        self._prefill_turn += placed.worker is not None
        return placed

    def place_decode(self, request: RequestView, view: ClusterView, prefill_worker: int | None) -> Placement:
        def pick(barrier: Ints, decodes: bool) -> tuple[int, Reason, str]:
            row = lightest(decode_load_tokens(view) + barrier, self._decode_turn, self._salt)
            used, total = view.kv_used_blocks.item(row), view.kv_total_blocks.item(row)
            return row, Reason.LEAST_LOAD, f"{used} of {total} KV blocks in use"

        placed = place_decode(request, view, prefill_worker, pick)
        self._decode_turn += placed.worker is not None and not placed.co_locate
        return placed
