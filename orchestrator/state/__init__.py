"""Stores of desired state: written before acting, so that whoever restarts reads what is wanted."""

from orchestrator.state.base import EVENT_LIMIT, Document, Store, StoreError
from orchestrator.state.open import open_store

__all__ = ["EVENT_LIMIT", "Document", "Store", "StoreError", "open_store"]
