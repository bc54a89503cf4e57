"""The mark of a front door that drains, for the others to see."""

from __future__ import annotations

from orchestrator.state.base import Store


def mark_draining(store: Store, front_door: str) -> None:
    """Mark its document; one that is gone stays gone. Raises StoreError."""
    store.update("frontdoor", front_door, lambda door: door and {**door, "draining": True})
