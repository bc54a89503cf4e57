"""Which workers this one pulls from."""

from __future__ import annotations

import threading

from workers.process.config import peer_name
from workers.transfer.base import Links


class Peers:
    """Keeps one transport pair a worker, to its newest incarnation: the memory of the older ones is gone. Safe for many threads."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._lock = threading.Lock()
        self._newest: dict[str, int] = {}

    def connect(self, worker: str, incarnation: int, metadata: bytes) -> str:
        """Warm the pair and return its transport name. One to an older incarnation is not set up: pulls on it fail at once."""
        name = peer_name(worker, incarnation)
        with self._lock:
            known = self._newest.get(worker, incarnation)
            if incarnation >= known:
                self._newest[worker] = incarnation
                if incarnation > known:
                    self._links.disconnect(peer_name(worker, known))
                self._links.connect(name, metadata)
        return name
