"""A store by its URL."""

from __future__ import annotations

from pathlib import Path

from orchestrator.state.base import Store, StoreError


def open_store(url: str, cluster: str = "tandem") -> Store:
    """`sqlite:///relative.db`, `sqlite:////absolute.db` or `redis://…`; raises StoreError if it cannot be opened.

    `cluster` keeps several clusters apart in one Redis; a SQLite file holds one cluster.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "sqlite" and rest.startswith("/") and rest != "/":
        from orchestrator.state.sqlite import SqliteStore

        return SqliteStore(Path(rest[1:]))
    if separator and scheme in ("redis", "rediss", "unix"):
        from orchestrator.state.redis import RedisStore

        return RedisStore(url, cluster)
    raise StoreError(f"no store for {url!r}: use sqlite:///path/to/state.db or redis://host:6379/0")
