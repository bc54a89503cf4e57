"""Puts desired state back into a store that lost it: a Redis that came back empty, a state file that was damaged or removed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from orchestrator.control.rundir import DESIRED
from orchestrator.state import Document, Store, StoreDamaged, StoreError
from orchestrator.state.events import Event, record

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the store is looked at: changes of the last second before a loss are lost with it."""
AHEAD = 1000
"""A restored store begins so far above the last revision seen: nobody may take it for the one that was lost."""
KINDS = (*DESIRED, "incarnation")


class StateKeeper:
    """Keeps a copy of all documents, on a thread of its own. Front doors and controller go on with what they know meanwhile."""

    def __init__(self, store: Store, say: Callable[[str], None], look_s: float = LOOK_S) -> None:
        self._store = store
        self._say = say
        self._look_s = look_s
        self._copy: dict[str, dict[str, Document]] = {}
        self._revision = 0
        self._failure = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state-keeper", daemon=True)

    def start(self) -> None:
        """Begin; the store must hold the spec."""
        self._thread.start()

    def stop(self) -> None:
        """End; nothing is restored afterwards."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Take a copy of what changed, or put it back if it is lost."""
        try:
            self._store.check()
            revision = self._store.revision()
            if revision == self._revision:
                return
            documents = {kind: self._store.list(kind) for kind in KINDS}
            if self._copy and (revision < self._revision or "spec" not in documents["cluster"]):
                self._restore(f"its revision went from {self._revision} to {revision}")
            else:
                self._copy, self._revision = documents, revision
            self._failure = ""
        except StoreDamaged as error:
            self._restore(str(error))
        except StoreError as error:
            self._note(str(error))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._look_s)

    def _restore(self, why: str) -> None:
        try:
            self._store.restore(self._copy, self._revision + AHEAD)
        except StoreError as error:
            self._note(str(error))
            return
        self._revision += AHEAD
        message = f"the store had lost its contents ({why}): written anew from the launcher's copy"
        self._say(f"state: {message}")
        record(self._store, "cluster", "state", Event.STATE_RESTORED, message)

    def _note(self, failure: str) -> None:
        if failure != self._failure:
            self._failure = failure
            log.warning("%s", failure)
