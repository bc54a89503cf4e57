"""Policies that record what they were asked and what they answered, around the ones that decide."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.core.cluster import ClusterView, Ints
from orchestrator.core.decisions import Admission, Placement
from orchestrator.core.exact import NotExact
from orchestrator.core.request import BlockHashes, RequestView
from orchestrator.core.snapshot import copy_view
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.policies.policy import describe
from orchestrator.policies.routing.base import PrefixIndex, RoutingPolicy, Staggered
from orchestrator.policies.state import parameters, state
from orchestrator.recording.entries import Admitted, Decision, DecodePlaced, PolicySet, PrefillPlaced
from orchestrator.recording.log import DecisionLog

log = logging.getLogger(__name__)


def recorded(policy: Any, record: DecisionLog | None) -> Any:
    """A routing or admission policy that decides as `policy` does and records it; without a record, `policy` itself."""
    if record is None:
        return policy
    decision = describe(type(policy)).decision
    return {"routing": RecordedRouting, "admission": RecordedAdmission}[decision](policy, record)


class _Tape:
    """Writes entries of one policy. Before its first, and after decisions that went unrecorded, what the policy remembers."""

    def __init__(self, policy: Any, record: DecisionLog) -> None:
        self._policy, self._record = policy, record
        self._known = False
        self._refused = False
        self._missed = 0

    def begin(self) -> bool:
        """Call before the policy decides; False if this decision is not recorded."""
        known, self._known = self._known, False
        self._missed += 1
        return not self._refused and self._record.takes and (known or self._introduce())

    def end(self, requests: Sequence[RequestView], entry: Decision) -> None:
        """Call with what the policy decided. Not called if it raised: it may have changed what it remembers."""
        self._known, self._missed = True, 0
        self._record.decision([request.request_id for request in requests], entry)

    def _introduce(self) -> bool:
        info = describe(type(self._policy))
        try:
            remembered = state(self._policy)
        except NotExact as error:
            self._refused = True
            log.warning("decisions of %s %s are not recorded: %s", info.decision, info.name, error)
            return False
        missed = self._missed - 1
        self._record.policy(PolicySet(info.decision, info.name, parameters(self._policy), remembered, missed))
        return True


class RecordedRouting:
    """A `RoutingPolicy`."""

    def __init__(self, policy: RoutingPolicy, record: DecisionLog) -> None:
        self._policy = policy
        self._tape = _Tape(policy, record)

    def stagger(self, number: int) -> None:
        """See Staggered; before the first decision, whose entry says what the policy remembers."""
        if isinstance(self._policy, Staggered):
            self._policy.stagger(number)

    def place_prefill(self, request: RequestView, view: ClusterView, prefix: PrefixIndex) -> Placement:
        if not self._tape.begin():
            return self._policy.place_prefill(request, view, prefix)
        # Asked for even if the policy does not: another one that is tried on the record may want to know.
        held_blocks, seen = prefix.matches(request.block_hashes, len(view)), copy_view(view)
        result = self._policy.place_prefill(request, view, _Held(request, held_blocks, prefix))
        self._tape.end((request,), PrefillPlaced(request, seen, held_blocks, result))
        return result

    def place_decode(self, request: RequestView, view: ClusterView, prefill_worker: int | None) -> Placement:
        if not self._tape.begin():
            return self._policy.place_decode(request, view, prefill_worker)
        seen = copy_view(view)
        result = self._policy.place_decode(request, view, prefill_worker)
        self._tape.end((request,), DecodePlaced(request, seen, prefill_worker, result))
        return result


class RecordedAdmission:
    """An `AdmissionPolicy`."""

    def __init__(self, policy: AdmissionPolicy, record: DecisionLog) -> None:
        self._policy = policy
        self._tape = _Tape(policy, record)

    def admit(
        self, queue: Sequence[RequestView], running: int, free_blocks: int, block_tokens: int, max_batch: int
    ) -> Admission:
        if not self._tape.begin():
            return self._policy.admit(queue, running, free_blocks, block_tokens, max_batch)
        result = self._policy.admit(queue, running, free_blocks, block_tokens, max_batch)
        self._tape.end(queue, Admitted(tuple(queue), running, free_blocks, block_tokens, max_batch, result))
        return result


@dataclass(slots=True)
class _Held:
    """The index as it answered for this request, so that it is not asked twice."""

    request: RequestView
    held_blocks: Ints
    index: PrefixIndex

    def matches(self, block_hashes: BlockHashes, n_workers: int) -> Ints:
        if block_hashes is self.request.block_hashes and n_workers == len(self.held_blocks):
            return self.held_blocks.copy()
        return self.index.matches(block_hashes, n_workers)
