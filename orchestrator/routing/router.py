"""Routing: keeps the view of the cluster, asks the policy, and accounts for what it placed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orchestrator.core.cluster import ClusterView, Floats, Role
from orchestrator.core.decisions import Placement
from orchestrator.core.request import RequestView
from orchestrator.policies.routing.base import RoutingPolicy
from orchestrator.routing.ledger import Entry, Ledger
from orchestrator.routing.prefix import PrefixIndex


@dataclass(slots=True)
class Report:
    """Load as a worker pushed it, all front doors together. Not frozen: one is made for every push, and frozen ones cost thrice."""

    running: int
    waiting: int
    prefill_tokens: int
    context_tokens: int
    used_blocks: int
    total_blocks: int
    block_tokens: int
    step_time_s: float


@dataclass(slots=True)
class _Foreign:
    """Load of other front doors, as of the last push: what was pushed minus what our ledger held at that moment."""

    prefill_tokens: int = 0
    context_tokens: int = 0
    blocks: int = 0


_NOBODY = _Foreign()


class Router:
    """One per front door. Not thread safe: used on the event loop."""

    def __init__(self, policy: RoutingPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self.ledger = Ledger()
        self.prefix = PrefixIndex()
        self.view = ClusterView.empty([])
        self._clock = clock
        self._block_tokens = 0
        self._rows: dict[str, int] = {}
        self._foreign: dict[str, _Foreign] = {}
        # When each row last pushed; infinity before its first push, which leaves its age at 0.
        self._pushed_s: Floats = np.zeros(0)

    def set_worker(self, name: str, role: Role, accepts: bool) -> None:
        """Add a worker, or change its role or whether it takes new work."""
        if name not in self._rows:
            self._grow(name)
        row = self._rows[name]
        self.view.role[row] = int(role)
        self.view.accepts[row] = accepts

    def set_accepts(self, name: str, accepts: bool) -> None:
        """Open or close a known worker to new work."""
        if name in self._rows:
            self.view.accepts[self._rows[name]] = accepts

    def forget_cache(self, name: str) -> None:
        if name in self._rows:
            self.prefix.clear(self._rows[name])

    def cache_events(self, name: str, stored: list[int], removed: list[int]) -> None:
        if name in self._rows:
            self.prefix.removed(self._rows[name], removed)
            self.prefix.stored(self._rows[name], stored)

    def report(self, name: str, report: Report, at_s: float | None = None) -> None:
        """Take in what a worker pushed at `at_s` (None: at this moment)."""
        if name not in self._rows:
            return
        row = self._rows[name]
        view = self.view
        view.running[row], view.waiting[row] = report.running, report.waiting
        view.kv_total_blocks[row], view.block_tokens[row] = report.total_blocks, report.block_tokens
        view.step_time_s[row] = report.step_time_s
        self._block_tokens = self._block_tokens or report.block_tokens
        own, foreign = self.ledger.load(name), self._foreign.setdefault(name, _Foreign())
        foreign.prefill_tokens = max(0, report.prefill_tokens - own.prefill_tokens)
        foreign.context_tokens = max(0, report.context_tokens - own.context_tokens)
        foreign.blocks = max(0, report.used_blocks - own.blocks)
        self._aged(row, at_s)
        self._refresh(name)

    def unchanged(self, name: str, at_s: float | None = None) -> None:
        """As `report`, from a worker that holds nothing and has said so before: only the age of its row changes."""
        self._aged(self._rows[name], at_s)

    def place_prefill(self, request: RequestView) -> Placement:
        self.stamp()
        return self.policy.place_prefill(request, self.view, self.prefix)

    def place_decode(self, request: RequestView, prefill_worker: int | None) -> Placement:
        self.stamp()
        return self.policy.place_decode(request, self.view, prefill_worker)

    def account(self, request: RequestView, worker: str, phase: Role) -> None:
        """Count a placed phase until `settle`."""
        block_tokens = max(1, int(self.view.block_tokens[self._rows[worker]]))
        prefill = request.prompt_tokens if phase is Role.PREFILL else 0
        context = request.prompt_tokens if phase is Role.DECODE else 0
        blocks = -(-(request.prompt_tokens + 1) // block_tokens)
        before = self.ledger.drop(request.request_id, phase)
        if before is not None and before != worker:
            self._refresh(before)
        self.ledger.put(request.request_id, Entry(worker, phase, prefill, context, blocks))
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
        """Bring the clock and the age of every report in the view up to date."""
        now_s = self._clock()
        if now_s == self.view.time_s:
            return
        self.view.time_s = now_s
        np.maximum(now_s - self._pushed_s, 0.0, out=self.view.age_s)

    def _aged(self, row: int, at_s: float | None) -> None:
        pushed_s = self._clock() if at_s is None else at_s
        self._pushed_s[row] = pushed_s
        self.view.age_s[row] = max(0.0, self.view.time_s - pushed_s)

    def _refresh(self, name: str) -> None:
        row, own, foreign = self._rows[name], self.ledger.load(name), self._foreign.get(name, _NOBODY)
        self.view.outstanding_prefill_tokens[row] = own.prefill_tokens + foreign.prefill_tokens
        self.view.decode_context_tokens[row] = own.context_tokens + foreign.context_tokens
        self.view.kv_used_blocks[row] = own.blocks + foreign.blocks

    def _grow(self, name: str) -> None:
        old = self.view
        self.view = ClusterView.empty([*old.names, name])
        for field in ClusterView.__slots__:
            if field not in ("names", "time_s"):
                getattr(self.view, field)[: len(old)] = getattr(old, field)
        self._pushed_s = np.append(self._pushed_s, np.inf)
        self._rows[name] = len(old)
