"""What this front door has dispatched and where: load that workers have not reported yet is counted from the first moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.core.cluster import Role


class Entry(NamedTuple):
    """One request's share of one worker. `role` tells which phase it was placed for."""

    worker: str
    role: Role
    prefill_tokens: int
    context_tokens: int
    blocks: int


@dataclass(slots=True)
class Load:
    """Sum over a worker's entries."""

    requests: int = 0
    prefill_tokens: int = 0
    context_tokens: int = 0
    blocks: int = 0

    def add(self, entry: Entry, sign: int) -> None:
        self.requests += sign
        self.prefill_tokens += sign * entry.prefill_tokens
        self.context_tokens += sign * entry.context_tokens
        self.blocks += sign * entry.blocks


_NOTHING = Load()


class Ledger:
    """Entries by (request id, phase). Every change keeps the sums per worker; `check_integrity` recounts them."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Role], Entry] = {}
        self._loads: dict[str, Load] = {}

    def put(self, request_id: str, entry: Entry) -> str | None:
        """Count `entry` for its phase of the request, in place of an earlier one; returns the earlier one's worker, None without."""
        before = self.drop(request_id, entry.role)
        self._entries[request_id, entry.role] = entry
        load = self._loads.get(entry.worker)
        if load is None:
            load = self._loads[entry.worker] = Load()
        load.add(entry, 1)
        return before

    def drop(self, request_id: str, role: Role) -> str | None:
        """Stop counting one phase of a request; returns its worker, None if it was not counted."""
        entry = self._entries.pop((request_id, role), None)
        if entry is None:
            return None
        self._loads[entry.worker].add(entry, -1)
        return entry.worker

    def forget(self, worker: str) -> None:
        """A worker without entries has left for good."""
        assert not self.load(worker).requests, f"the ledger counts requests on {worker}"
        self._loads.pop(worker, None)

    def drop_all(self, request_id: str) -> None:
        self.drop(request_id, Role.PREFILL)
        self.drop(request_id, Role.DECODE)

    def load(self, worker: str) -> Load:
        return self._loads.get(worker, _NOTHING)

    def request_ids(self) -> set[str]:
        return {request_id for request_id, _ in self._entries}

    def check_integrity(self) -> None:
        """Recount; raises AssertionError naming the first worker whose sums differ."""
        recount: dict[str, Load] = {}
        for entry in self._entries.values():
            recount.setdefault(entry.worker, Load()).add(entry, 1)
        for worker, load in self._loads.items():
            assert load == recount.get(worker, Load()), (
                f"ledger of {worker}: {load} counted, {recount.get(worker)} recounted"
            )
