"""The worker that holds most of the prompt already, unless it is too busy.

What: sends prompts to where their prefix is cached, weighed against the queue there.
Inputs: per worker, the leading prompt blocks that it holds; outstanding prompt tokens; as least_load for decode.
Behaviour: prefill goes where outstanding prompt tokens + prompt tokens still to compute are fewest: the tokens until the
    first output token. If that worker's queue is `imbalance_tokens` longer than the shortest, the shortest gets the
    request instead and so comes to hold the prefix too. Equals take turns. Decode goes to the least load.
Parameters: imbalance_tokens.
Source: cache-aware routing with a balance threshold as in SGLang's router and Preble (ICLR '25).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from orchestrator.core.cluster import ClusterView
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.policy import parameter, policy
from orchestrator.policies.routing.base import PrefixIndex
from orchestrator.policies.routing.candidates import placement, prefill_candidates
from orchestrator.policies.routing.least_load import LeastLoad
from orchestrator.policies.routing.load import lightest, prefill_load_tokens


@policy
@dataclass(slots=True)
class PrefixAware:
    """A `RoutingPolicy`."""

    imbalance_tokens: int = parameter("how much longer than the shortest queue a hit's may be", 8192, minimum=0)
    _turn: int = field(default=0, init=False)
    _least_load: LeastLoad = field(default_factory=LeastLoad, init=False)

    def place_prefill(self, request: RequestView, view: ClusterView, prefix: PrefixIndex) -> Placement:
        found = prefill_candidates(request, view)
        if isinstance(found, Placement):
            return found
        rows, forced = found
        held_tokens = prefix.matches(request.block_hashes, len(view))[rows] * view.block_tokens[rows]
        # The last prompt token is always computed: its output is the first token.
        held_tokens = np.minimum(held_tokens, max(request.prompt_tokens - 1, 0))
        queue_tokens = prefill_load_tokens(view, rows)
        row = lightest(rows, queue_tokens + request.prompt_tokens - held_tokens, self._turn)
        at = int(np.searchsorted(rows, row))
        reason = Reason.PREFIX_HIT if held_tokens[at] else Reason.PREFIX_MISS
        if queue_tokens[at] - queue_tokens.min() > self.imbalance_tokens:
            row, reason = lightest(rows, queue_tokens, self._turn), Reason.PREFIX_IMBALANCED
            at = int(np.searchsorted(rows, row))
        self._turn += 1
        if rows.size == 1:
            reason = Reason.ONLY_CANDIDATE
        detail = f"{held_tokens[at]} of {request.prompt_tokens} prompt tokens held, {queue_tokens[at]} waiting"
        return placement(row, view, forced or reason, detail)

    def place_decode(self, request: RequestView, view: ClusterView, prefill_worker: int | None) -> Placement:
        return self._least_load.place_decode(request, view, prefill_worker)
