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

from orchestrator.core.cluster import ClusterView, Ints
from orchestrator.core.decisions import Placement, Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.policy import parameter, policy
from orchestrator.policies.routing.base import PrefixIndex
from orchestrator.policies.routing.candidates import place_prefill
from orchestrator.policies.routing.least_load import LeastLoad
from orchestrator.policies.routing.load import lightest


@policy
@dataclass(slots=True)
class PrefixAware:
    """A `RoutingPolicy`."""

    imbalance_tokens: int = parameter("how much longer than the shortest queue a hit's may be", 8192, minimum=0)
    _turn: int = field(default=0, init=False)
    _salt: int = field(default=0, init=False)
    _least_load: LeastLoad = field(default_factory=LeastLoad, init=False)

    def stagger(self, number: int) -> None:
        """See Staggered."""
        self._salt = number
        self._least_load.stagger(number)

    def place_prefill(self, request: RequestView, view: ClusterView, prefix: PrefixIndex) -> Placement:
        tokens, queue_tokens = request.prompt_tokens, view.outstanding_prefill_tokens
        held_tokens = prefix.matches(request.block_hashes, len(view))
        held_tokens *= view.block_tokens
        # The last prompt token is always computed: its output is the first token.
        if held_tokens.size and held_tokens.item(held_tokens.argmax()) >= tokens:
            np.minimum(held_tokens, max(tokens - 1, 0), out=held_tokens)

        def pick(barrier: Ints, decodes: bool) -> tuple[int, Reason, str]:
            cost = queue_tokens - held_tokens
            cost += barrier
            row = lightest(cost, self._turn, self._salt)
            reason = Reason.PREFIX_HIT if held_tokens.item(row) else Reason.PREFIX_MISS
            if queue_tokens.item(row) > self.imbalance_tokens:
                queue = queue_tokens + barrier
                if queue.item(row) - queue.item(queue.argmin()) > self.imbalance_tokens:
                    row, reason = lightest(queue, self._turn, self._salt), Reason.PREFIX_IMBALANCED
            held, waiting = held_tokens.item(row), queue_tokens.item(row)
            return row, reason, f"{held} of {tokens} prompt tokens held, {waiting} waiting"

        placed = place_prefill(request, view, pick)
        self._turn += placed.worker is not None
        return placed

    def place_decode(self, request: RequestView, view: ClusterView, prefill_worker: int | None) -> Placement:
        return self._least_load.place_decode(request, view, prefill_worker)
