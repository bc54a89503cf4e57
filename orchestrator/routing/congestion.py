"""Whether decode workers would give one request more its tokens in time."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.core.cluster import Role
from orchestrator.routing.margin import Margin
from orchestrator.routing.router import Router
from orchestrator.routing.tempo import Tempo


@dataclass(slots=True)
class _Worker:
    tempo: Tempo = field(default_factory=Tempo)
    reported: int = 0
    placed: int = 0
    """Requests that this front door had placed there when the worker reported."""


class Congestion:
    """Follows the pace of every worker. A worker that nothing runs on bears a request whatever its past says."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._workers: dict[str, _Worker] = {}
        self.margin = Margin()

    def heard(self, name: str, now_s: float, running: int, waiting: int, generated_tokens: int) -> None:
        """A worker reported its load; `now_s` on one monotonic clock."""
        worker = self._workers.setdefault(name, _Worker())
        worker.tempo.heard(now_s, running, generated_tokens)
        worker.reported, worker.placed = running + waiting, self._router.ledger.load(name).requests

    def gone(self, name: str) -> None:
        """The worker's connection is lost."""
        self._workers.pop(name, None)

    def excess_s(self, goal_s: float, queued: int, now_s: float) -> float:
        """0 if some decode worker bears one request more within `goal_s`; else the least TPOT that one would give it.

        `queued` requests are about to be placed before it. 0 also where no worker that decodes only takes work.
        """
        view = self._router.view
        rows = (view.accepts & (view.role == int(Role.DECODE))).nonzero()[0].tolist()
        share = queued / len(rows) if rows else 0.0
        least = 0.0
        for row in rows:
            worker = self._workers.get(view.names[row])
            if worker is None:
                return 0.0
            more = self._router.ledger.load(view.names[row]).requests - worker.placed
            held = max(0, worker.reported + more) + share
            tpot_s = worker.tempo.tpot_s(now_s, int(held) + 1) if held >= 1 else 0.0
            if tpot_s <= self.margin.share * goal_s:
                return 0.0
            least = min(least or tpot_s, tpot_s)
        return least
