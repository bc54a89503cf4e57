"""Stores of desired state: written before acting, so that whoever restarts reads what is wanted."""

from orchestrator.state.base import EVENT_LIMIT, Document, Store, StoreDamaged, StoreError
from orchestrator.state.open import open_store

__all__ = ["EVENT_LIMIT", "Document", "Store", "StoreDamaged", "StoreError", "open_store"]
