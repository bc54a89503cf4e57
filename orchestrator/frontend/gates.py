"""Which workers take new requests: those that the cluster wants to, and whose circuit breaker is not open.

Breakers that are open for all that are left are ignored: a worker that fails some requests is better than none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from orchestrator.core.cluster import Role
from orchestrator.frontend.breaker import Breaker, BreakerLimits, BreakerState
from orchestrator.observability import Metrics
from orchestrator.routing.router import Router

log = logging.getLogger(__name__)

_LEVEL = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class Gates:
    """Keeps the router's `accepts` column. `clock` is monotonic."""

    def __init__(
        self,
        router: Router,
        metrics: Metrics,
        limits: BreakerLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router = router
        self._metrics = metrics
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._wanted: dict[str, bool] = {}
        self._breakers: dict[str, Breaker] = {}
        self._tripped: set[str] = set()

    def want(self, name: str, role: Role, accepts: bool) -> None:
        """What the store and the connection say of a worker."""
        self._wanted[name] = accepts
        self._router.set_worker(name, role, self._open(name))
        self.tick()

    def shut(self, name: str) -> None:
        """The connection to a worker is gone."""
        self._wanted[name] = False
        self._router.set_accepts(name, False)
        self.tick()

    def renew(self, name: str) -> None:
        """Another incarnation is there: what its predecessor failed does not count against it."""
        if self._breakers.pop(name, None) is not None:
            self._tripped.discard(name)
            self._apply(name)

    def state(self, name: str) -> BreakerState:
        breaker = self._breakers.get(name)
        return breaker.state if breaker else BreakerState.CLOSED

    def tick(self) -> None:
        """Let breakers whose time is over have their trial, and see whether others are left."""
        for name in self._tripped:
            self._apply(name)

    def placed(self, name: str, request_id: str) -> None:
        if name in self._tripped:
            self._breakers[name].placed(request_id)
            self._apply(name)

    def left(self, name: str, request_id: str) -> None:
        if name in self._tripped:
            self._breakers[name].left(request_id)
            self._apply(name)

    def succeeded(self, name: str, request_id: str) -> None:
        if name in self._tripped and self._breakers[name].succeeded(request_id):
            log.info("worker %s works again: its breaker is closed", name)
            self._tripped.discard(name)
            self._apply(name)
            self.tick()

    def failed(self, name: str, why: str) -> None:
        """The worker failed a request for a reason of its own."""
        breaker = self._breakers.setdefault(name, Breaker(self._limits))
        if breaker.failed(self._clock()):
            log.warning("worker %s keeps failing requests: its breaker is open; the last one: %s", name, why)
            self._tripped.add(name)
            self.tick()

    def _open(self, name: str) -> bool:
        breaker = self._breakers.get(name)
        if not self._wanted.get(name, False):
            return False
        return breaker is None or breaker.takes(self._clock()) or not self._another(name)

    def _another(self, name: str) -> bool:
        """A worker beside this one takes requests, and its breaker is closed."""
        return any(wanted and other != name and other not in self._tripped for other, wanted in self._wanted.items())

    def _apply(self, name: str) -> None:
        self._router.set_accepts(name, self._open(name))
        self._metrics.breaker.labels(self._metrics.worker_label(name)).set(_LEVEL[self.state(name)])
