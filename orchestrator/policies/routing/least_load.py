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

from orchestrator.core.cluster import ClusterView
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.policy import policy
from orchestrator.policies.routing.base import PrefixIndex
from orchestrator.policies.routing.candidates import decode_candidates, placement, prefill_candidates
from orchestrator.policies.routing.load import decode_load_tokens, lightest, worker_load_tokens


@policy
@dataclass(slots=True)
class LeastLoad:
    """A `RoutingPolicy`."""

    _prefill_turn: int = field(default=0, init=False)
    _decode_turn: int = field(default=0, init=False)

    def place_prefill(self, request: RequestView, view: ClusterView, prefix: PrefixIndex) -> Placement:
        found = prefill_candidates(request, view)
        if isinstance(found, Placement):
            return found
        rows, forced = found
        row = lightest(rows, worker_load_tokens(view, rows), self._prefill_turn)
        self._prefill_turn += 1
        reason = forced or (Reason.ONLY_CANDIDATE if rows.size == 1 else Reason.LEAST_LOAD)
        return placement(row, view, reason, f"{int(view.outstanding_prefill_tokens[row])} prompt tokens waiting")

    def place_decode(self, request: RequestView, view: ClusterView, prefill_worker: int | None) -> Placement:
        found = decode_candidates(request, view, prefill_worker)
        if isinstance(found, Placement):
            return found
        rows, _ = found
        row = lightest(rows, decode_load_tokens(view, rows), self._decode_turn)
        self._decode_turn += 1
        detail = f"{int(view.kv_used_blocks[row])} of {int(view.kv_total_blocks[row])} KV blocks in use"
        return Placement(row, Reason.ONLY_CANDIDATE if rows.size == 1 else Reason.LEAST_LOAD, detail)
