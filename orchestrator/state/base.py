"""The store of desired state: JSON documents with a revision that anyone may poll, and a bounded log of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Document = dict[str, Any]
Update = Callable[[Document | None], Document | None]

EVENT_LIMIT = 10_000
"""Events kept; older ones are dropped."""


class StoreError(Exception):
    """The store cannot be reached or stayed locked. A write that raised this may or may not have happened."""


class StoreDamaged(StoreError):
    """What is stored cannot be read any more. Only `restore` helps."""


class Store(Protocol):
    """Documents are JSON objects under (kind, name). Safe for many threads and processes; a writer may die at any point.

    Every method raises StoreError, and TypeError or ValueError for what is no JSON object. Calls take well below 1 ms on
    one machine, and block, so event loops call them in a thread.
    """

    def put(self, kind: str, name: str, doc: Mapping[str, Any]) -> None:
        """Create or replace a document. Putting what is there already changes nothing, nor the revision."""

    def get(self, kind: str, name: str) -> Document | None:
        """A document of its own, or None."""

    def delete(self, kind: str, name: str) -> bool:
        """Remove a document; returns whether it was there."""

    def list(self, kind: str) -> dict[str, Document]:
        """All documents of a kind by name, in order of name. One consistent read."""

    def update(self, kind: str, name: str, fn: Update) -> Document | None:
        """Atomic read-modify-write; returns what is stored afterwards.

        `fn` gets the document or None, and returns the new one, or None to delete it. It may be called more than once
        (another writer came first) and must not call the store.
        """

    def revision(self) -> int:
        """A number that grows with every change of any document, and never otherwise. Cheap enough to poll every 100 ms."""

    def check(self) -> None:
        """Raise StoreDamaged if a process that opens the store afresh could not read it. Takes about a millisecond."""

    def restore(self, documents: Mapping[str, Mapping[str, Document]], revision: int) -> None:
        """Make `documents` (kind to name to document) all that is stored, at `revision`, in one step.

        A damaged store is set aside and made anew. Events stay as they are, or are lost with a damaged store.
        """

    def append_event(self, event: Mapping[str, Any]) -> int:
        """Add to the event log; returns its sequence number. The revision stays as it is."""

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, Document]]:
        """(sequence number, event) of the oldest `limit` events with a number above `after`, oldest first."""

    def close(self) -> None:
        """Let go of files and connections. Calling it again does nothing."""


def encode(doc: Mapping[str, Any]) -> str:
    """Canonical JSON, equal for equal documents. Raises TypeError or ValueError for what is no JSON object."""
    if not isinstance(doc, Mapping):
        raise TypeError(f"a document must be a JSON object, got {type(doc).__name__}")
    return json.dumps(doc, sort_keys=True, separators=(",", ":"), allow_nan=False)


def decode(text: str | bytes) -> Document:
    """The inverse of `encode`."""
    doc: Document = json.loads(text)
    return doc
