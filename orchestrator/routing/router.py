"""Routing: keeps the view of the cluster, asks the policy, and accounts for what it placed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from zlib import crc32

from orchestrator.core.cluster import Role
from orchestrator.core.decisions import Placement
from orchestrator.core.request import BlockHashes, RequestView
from orchestrator.policies.routing.base import RoutingPolicy, Staggered
from orchestrator.routing.ledger import Entry, Ledger
from orchestrator.routing.prefix import MAX_BLOCKS, PrefixIndex
from orchestrator.routing.report import Foreign, Report
from orchestrator.routing.rows import LiveView, Rows

__all__ = ["Report", "Router"]

_NOBODY = Foreign()


class Router:
    """One per front door. Not thread safe: used on the event loop.

    `name` is the front door's: policies take turns from a number drawn from it, so that front doors which see the same cluster
    do not choose the same workers in step. Without a name turns begin at the first row.
    """

    def __init__(
        self,
        policy: RoutingPolicy,
        clock: Callable[[], float] = time.monotonic,
        name: str = "",
        max_blocks: int = MAX_BLOCKS,
    ) -> None:
        self._salt = crc32(name.encode()) if name else 0
        self.policy = policy
        self.ledger = Ledger()
        self.prefix = PrefixIndex(max_blocks)
        self._clock = clock
        self._block_tokens = 0
        self._rows = Rows()
        self._foreign: dict[str, Foreign] = {}
        self._unusable: dict[str, frozenset[str]] = {}

    @property
    def view(self) -> LiveView:
        """The cluster as the policy sees it."""
        return self._rows.view

    @property
    def policy(self) -> RoutingPolicy:
        """What decides. One that is set begins its turns at this front door's number."""
        return self._policy

    @policy.setter
    def policy(self, policy: RoutingPolicy) -> None:
        if self._salt and isinstance(policy, Staggered):
            policy.stagger(self._salt)
        self._policy = policy

    def set_worker(self, name: str, role: Role, accepts: bool) -> None:
        """Add a worker, or change its role or whether it takes new work."""
        if name not in self._rows:
            self._rows.add(name)
        view, row = self._rows.view, self._rows[name]
        if view.role[row] != int(role) or view.accepts[row] != accepts:
            view.role[row], view.accepts[row] = int(role), accepts
            view.changed()

    def set_accepts(self, name: str, accepts: bool) -> None:
        """Open or close a known worker to new work."""
        row = self._rows.get(name)
        if row is not None:
            self._rows.view.accepts[row] = accepts
            self._rows.view.changed()

    def remove_worker(self, name: str) -> bool:
        """Forget a worker that has left for good: its row goes to the next one that joins. False while requests count there."""
        if name not in self._rows:
            return True
        if self.ledger.load(name).requests:
            return False
        self.forget_cache(name)
        self.ledger.forget(name)
        self._foreign.pop(name, None)
        self._unusable.pop(name, None)
        self._rows.remove(name)
        return True

    def workers(self) -> list[str]:
        """Names of the workers that have a row."""
        return list(self._rows.names())

    def forget_cache(self, name: str) -> None:
        if name in self._rows:
            self.prefix.clear(self._rows[name])

    def cache_events(
        self, name: str, stored: Iterable[int] | BlockHashes, removed: Iterable[int] | BlockHashes
    ) -> None:
        """Take in block hashes that a worker has stored, and such as it has given up."""
        row = self._rows.get(name)
        if row is not None:
            self.prefix.removed(row, removed)
            self.prefix.stored(row, stored)

    def report(self, name: str, report: Report, at_s: float | None = None) -> None:
        """Take in what a worker pushed at `at_s` (None: at this moment)."""
        row = self._rows.get(name)
        if row is None:
            return
        view = self._rows.view
        view.running[row], view.waiting[row] = report.running, report.waiting
        view.kv_total_blocks[row], view.block_tokens[row] = report.total_blocks, report.block_tokens
        view.step_time_s[row] = report.step_time_s
        self._block_tokens = self._block_tokens or report.block_tokens
        own, foreign = self.ledger.load(name), self._foreign.setdefault(name, Foreign())
        foreign.prefill_tokens = max(0, report.prefill_tokens - own.prefill_tokens)
        foreign.context_tokens = max(0, report.context_tokens - own.context_tokens)
        foreign.blocks = max(0, report.used_blocks - own.blocks)
        view.pushed_s[row] = self._clock() if at_s is None else at_s
        self._refresh(name)

    def unchanged(self, name: str, at_s: float | None = None) -> None:
        """As `report`, from a worker that holds nothing and has said so before: only the age of its row changes."""
        self._rows.view.pushed_s[self._rows[name]] = self._clock() if at_s is None else at_s

    def unusable(self, name: str, sources: Iterable[str]) -> None:
        """A worker says from which others it cannot pull KV."""
        if found := frozenset(sources):
            self._unusable[name] = found
        else:
            self._unusable.pop(name, None)

    def place_prefill(self, request: RequestView) -> Placement:
        """See RoutingPolicy."""
        self.stamp()
        return self._policy.place_prefill(request, self._rows.view, self.prefix)

    def place_decode(self, request: RequestView, prefill_worker: int | None) -> Placement:
        """See RoutingPolicy."""
        self.stamp()
        view = self._rows.view
        if self._unusable and prefill_worker is not None:
            view = self._that_can_pull(view, prefill_worker)
        return self._policy.place_decode(request, view, prefill_worker)

    def account(self, request: RequestView, worker: str, phase: Role) -> None:
        """Count a placed phase until `settle`."""
        tokens = request.prompt_tokens
        # One block more where the prompt fills its last: the first output token needs it.
        blocks = tokens // (self._rows.view.block_tokens.item(self._rows[worker]) or 1) + 1
        prefills = phase is Role.PREFILL
        entry = Entry(worker, phase, tokens if prefills else 0, 0 if prefills else tokens, blocks)
        before = self.ledger.put(request.request_id, entry)
        if before is not None and before != worker:
            self._refresh(before)
        self._refresh(worker)

    def settle(self, request_id: str, *phases: Role) -> None:
        """Stop counting these phases of a request (both where none is named)."""
        for phase in phases or (Role.PREFILL, Role.DECODE):
            worker = self.ledger.drop(request_id, phase)
            if worker is not None:
                self._refresh(worker)

    def row(self, name: str) -> int:
        return self._rows[name]

    def block_tokens(self) -> int:
        """Block size of the cluster's workers; 16 while none has reported."""
        return self._block_tokens or 16

    def stamp(self) -> None:
        """Bring the clock of the view up to date, and with it the age of every report."""
        self._rows.view.time_s = self._clock()

    def _that_can_pull(self, view: LiveView, source: int) -> LiveView:
        """The view in which nobody who cannot pull from row `source` accepts work."""
        cannot = [name for name, sources in self._unusable.items() if view.names[source] in sources]
        if not cannot:
            return view
        accepts = view.accepts.copy()
        accepts[[self._rows[name] for name in cannot if name in self._rows]] = False
        return view.where(accepts)

    def _refresh(self, name: str) -> None:
        row = self._rows.get(name)
        if row is None:
            return
        own, foreign, view = self.ledger.load(name), self._foreign.get(name, _NOBODY), self._rows.view
        view.outstanding_prefill_tokens[row] = own.prefill_tokens + foreign.prefill_tokens
        view.decode_context_tokens[row] = own.context_tokens + foreign.context_tokens
        view.kv_used_blocks[row] = own.blocks + foreign.blocks
