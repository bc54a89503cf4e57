"""How long running requests may go on when a cluster stops."""

from __future__ import annotations

from orchestrator.core.config import Cluster
from orchestrator.state import Store, StoreError, open_store


def drain_budget_s(store: Store) -> float:
    """`spec.drain.budgetS` as it is in force; the default where the store cannot tell."""
    try:
        document = store.get("cluster", "spec") or {}
        return float(document["spec"]["drain"]["budgetS"])
    except (StoreError, KeyError, TypeError, ValueError):
        return Cluster().spec.drain.budget_s


def budget_at(store_url: str, cluster: str) -> float:
    """The same, of a store that is opened for it."""
    try:
        store = open_store(store_url, cluster)
    except StoreError:
        return Cluster().spec.drain.budget_s
    try:
        return drain_budget_s(store)
    finally:
        store.close()
