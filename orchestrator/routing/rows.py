"""The rows of the cluster view: one per worker that may come back, given again once a worker has left for good."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import fields

import numpy as np

from orchestrator.core.cluster import Bools, ClusterView, Floats, Ints, Role

COLUMNS = tuple(f.name for f in fields(ClusterView) if f.name not in ("names", "time_s"))


class LiveView(ClusterView):
    """A view that remembers what follows from roles and from who accepts work, until `changed`.

    `pushed_s` is when each row last pushed, infinity before its first push; ages are told when somebody asks.
    """

    __slots__ = ("_barriers", "_mixed", "_takes", "pushed_s")
    pushed_s: Floats

    @property
    def age_s(self) -> Floats:
        """Since each row last pushed, 0 before its first push."""
        return np.maximum(self.time_s - self.pushed_s, 0.0)

    @age_s.setter
    def age_s(self, age_s: Floats) -> None:
        self.pushed_s = -age_s

    def changed(self) -> None:
        """To be called by the owner of the view when a role has changed or a row was opened or closed."""
        self._takes: dict[int, Bools] = {}
        self._barriers: dict[int, tuple[Ints, int]] = {}
        self._mixed: bool | None = None

    def where(self, accepts: Bools) -> LiveView:
        """The same rows, of which only these accept work."""
        columns = {column: getattr(self, column) for column in COLUMNS if column != "accepts"}
        view = LiveView(names=self.names, accepts=accepts, **columns, time_s=self.time_s)
        view.pushed_s = self.pushed_s
        view.changed()
        return view

    def takes(self, role: Role) -> Bools:
        """See ClusterView; a copy."""
        if role not in self._takes:
            self._takes[role] = ClusterView.takes(self, role)
        return self._takes[role].copy()

    def barrier(self, role: Role) -> tuple[Ints, int]:
        """See ClusterView; to be read only."""
        found = self._barriers.get(role)
        if found is None:
            found = self._barriers[role] = ClusterView.barrier(self, role)
            found[0].flags.writeable = False
        return found

    def mixed(self) -> bool:
        """See ClusterView."""
        if self._mixed is None:
            self._mixed = ClusterView.mixed(self)
        return self._mixed


class Rows:
    """Which row is whose. `view` is another object after each `add`, over the same columns where they were long enough."""

    def __init__(self) -> None:
        self._columns = ClusterView.empty([])
        self._pushed_s: Floats = np.full(0, np.inf)
        self._names: list[str] = []
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self.view = self._view()

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> int:
        return self._rows[name]

    def get(self, name: str) -> int | None:
        return self._rows.get(name)

    def names(self) -> Iterable[str]:
        """Of the workers that have a row."""
        return self._rows.keys()

    def add(self, name: str) -> int:
        """A row for a worker that has none: idle and closed."""
        if self._free:
            row = heapq.heappop(self._free)
            self._names[row] = name
        else:
            row = len(self._names)
            self._names.append(name)
            if row == len(self._columns):
                self._lengthen()
            self.view = self._view(self.view.time_s)
        self._rows[name] = row
        return row

    def remove(self, name: str) -> int:
        """Make the row of a worker free: without a name or a role, closed, all zeros."""
        row = self._rows.pop(name)
        for column in COLUMNS:
            getattr(self._columns, column)[row] = 0
        self._pushed_s[row] = np.inf
        self._names[row] = ""
        heapq.heappush(self._free, row)
        self.view.changed()
        return row

    def _lengthen(self) -> None:
        old = self._columns
        self._columns = ClusterView.empty([""] * max(16, 2 * len(old)))
        for column in COLUMNS:
            getattr(self._columns, column)[: len(old)] = getattr(old, column)
        self._pushed_s = np.append(self._pushed_s, np.full(len(self._columns) - len(old), np.inf))

    def _view(self, time_s: float = 0.0) -> LiveView:
        n = len(self._names)
        columns = {column: getattr(self._columns, column)[:n] for column in COLUMNS}
        view = LiveView(names=self._names, **columns, time_s=time_s)
        view.pushed_s = self._pushed_s[:n]
        view.changed()
        return view
