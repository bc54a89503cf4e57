"""Drain requests on this process's own clock, so that nobody's wall clock decides when a budget is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from orchestrator.state import Document


class DrainAnchors:
    """Remembers when this process first saw each drain. A controller that starts again counts a budget from its own start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}

    def local(self, workers: Mapping[str, Document]) -> dict[str, Document]:
        """Worker documents whose `drain.requested_at` is monotonic seconds: the moment at which it was first seen here."""
        now_s = self._clock()
        self._seen = {name: anchor for name, anchor in self._seen.items() if workers.get(name, {}).get("drain")}
        local = dict(workers)
        for name, worker in workers.items():
            if drain := worker["drain"]:
                requested_at, seen_s = self._seen.get(name, (None, 0.0))
                if requested_at != drain["requested_at"]:
                    seen_s = now_s
                    self._seen[name] = (drain["requested_at"], now_s)
                local[name] = {**worker, "drain": {**drain, "requested_at": seen_s}}
        return local
