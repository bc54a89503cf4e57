"""What a host tells the world of its worker: `endpoint/NAME` and events, written on a thread of their own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any

from orchestrator.state import Store, StoreError

log = logging.getLogger(__name__)
RETRY_S = 0.2


class EndpointPublisher:
    """Writes in order and tries again while the store is away, so that supervision never waits for the store."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"endpoint-{name}", daemon=True)
        self._thread.start()

    def publish(self, endpoint: dict[str, Any]) -> None:
        """Replace the endpoint document."""
        self._queue.put({"endpoint": endpoint})

    def event(self, reason: str, message: str) -> None:
        """Append an event about this worker, dated now."""
        event = {"at": time.time(), "kind": "worker", "object": self._name, "reason": reason, "message": message}
        self._queue.put({"event": event})

    def close(self) -> None:
        """Write what is queued, or give up if the store is away, then take the endpoint back."""
        self._closing.set()
        self._queue.put({})
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            while True:
                try:
                    self._write(item)
                    break
                except StoreError as error:
                    log.warning("%s: %s", self._name, error)
                    if self._closing.wait(RETRY_S):
                        break

    def _write(self, item: dict[str, Any]) -> None:
        if "endpoint" in item:
            self._store.put("endpoint", self._name, item["endpoint"])
        elif "event" in item:
            self._store.append_event(item["event"])
        else:
            self._store.delete("endpoint", self._name)
