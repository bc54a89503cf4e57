"""What a host tells the world of its worker: `endpoint/NAME` and events, written on a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

from orchestrator.state import Store, StoreError

log = logging.getLogger(__name__)
RETRY_S = 0.2
VERIFY_S = 2.0
"""How often the endpoint is read back: a store that lost its contents gets it again."""
MOST_EVENTS = 200
"""Events that wait while the store is away; the oldest are dropped."""


class EndpointPublisher:
    """Writes and tries again while the store is away, so that supervision never waits for the store.

    Of several endpoints that wait only the last is written. The last incarnation is kept when the endpoint is taken back:
    a host of the same name must go on above it, even if the clock has gone back since.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._changed = threading.Condition()
        self._endpoint: dict[str, Any] | None = None
        self._written = True
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._closing = False
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name=f"endpoint-{name}", daemon=True)
        self._thread.start()

    def publish(self, endpoint: dict[str, Any]) -> None:
        """Replace the endpoint document."""
        with self._changed:
            self._endpoint, self._written = endpoint, False
            self._changed.notify()

    def event(self, reason: str, message: str) -> None:
        """Append an event about this worker, dated now."""
        event = {"at": time.time(), "kind": "worker", "object": self._name, "reason": reason, "message": message}
        with self._changed:
            self._events.append(event)
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, or give up if the store is away, then take the endpoint back."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._written or self._events or self._closing, VERIFY_S)
            try:
                self._write()
                self._failure = ""
                if self._closing:
                    self._take_back()
                    return
            except StoreError as error:
                if str(error) != self._failure:
                    self._failure = str(error)
                    log.warning("%s: %s", self._name, error)
                if self._closing:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, RETRY_S)

    def _write(self) -> None:
        endpoint = self._endpoint
        if endpoint is not None and (not self._written or self._store.get("endpoint", self._name) != endpoint):
            self._store.put("endpoint", self._name, endpoint)
            with self._changed:
                self._written = self._endpoint is endpoint
        while self._events:
            self._store.append_event(self._events[0])
            with self._changed:
                self._events.popleft()

    def _take_back(self) -> None:
        if self._endpoint is not None:
            self._store.put("incarnation", self._name, {"last": self._endpoint["incarnation"]})
        self._store.delete("endpoint", self._name)
