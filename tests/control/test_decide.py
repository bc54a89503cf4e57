"""Decisions of the controller's policies become desired state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control import decide
from orchestrator.control.decide import Decisions, view_of
from orchestrator.control.probe import Seen
from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.config import Cluster, Policies, dump
from orchestrator.core.decisions import Reason
from orchestrator.policies.scaling.base import Resize, RoleChange
from orchestrator.state import Store, open_store
from pd.v1 import worker_pb2 as pb

WORKERS = {
    name: {"name": name, "pool": pool, "role": pool, "index": index, "drain": None, "drained": False}
    for name, pool, index in (("decode-0", "decode", 0), ("decode-1", "decode", 1), ("prefill-0", "prefill", 0))
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    opened.put("cluster", "spec", dump(Cluster()))
    for name, worker in WORKERS.items():
        opened.put("worker", name, worker)
    yield opened
    opened.close()


class Fixed:
    """A policy that decides the same at every tick."""

    def __init__(self, decisions: list[Any]) -> None:
        self.decisions = decisions

    def decide(self, view: ClusterView) -> list[Any]:
        return self.decisions


def tick(store: Store, monkeypatch: pytest.MonkeyPatch, scaling: list[Any]) -> Decisions:
    def make(decision: str, name: str, parameters: Any) -> Fixed:
        return Fixed(scaling if decision == "scaling" else [])

    monkeypatch.setattr(decide.registry, "make", make)
    decisions = Decisions(store)
    decisions.write_missing(Policies())
    decisions.tick(WORKERS, {})
    return decisions


def counts(store: Store) -> dict[str, int]:
    spec = store.get("cluster", "spec")
    assert spec is not None
    return {pool["name"]: pool["count"] for pool in spec["spec"]["pools"]}


def test_view_shows_what_workers_said() -> None:
    status = pb.WorkerStatus(running=2, kv_used_blocks=3, kv_total_blocks=8)
    seen = {"decode-0": Seen(pb.WorkerDescription(block_tokens=16, status=status), 90.0), "decode-1": None}
    view = view_of(WORKERS, seen, 100.0)
    assert view.names == ["decode-0", "decode-1", "prefill-0"]
    assert view.role.tolist() == [int(Role.DECODE), int(Role.DECODE), int(Role.PREFILL)]
    assert view.accepts.tolist() == [True, False, False]
    assert (view.running[0], view.free_blocks()[0], view.age_s[0]) == (2, 5, 10.0)


def test_configured_policies_are_written_once(store: Store) -> None:
    chosen = {"name": "round_robin", "parameters": {}}
    store.put("policy", "routing", chosen)
    Decisions(store).write_missing(Policies())
    documents = store.list("policy")
    assert documents["routing"] == chosen
    assert documents["scaling"] == {"name": "static", "parameters": {}}


def test_static_policies_change_nothing(store: Store) -> None:
    decisions = Decisions(store)
    decisions.write_missing(Policies())
    revision = store.revision()
    decisions.tick(WORKERS, {})
    assert (store.revision(), store.events()) == (revision, [])


def test_role_change_reaches_the_worker(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tick(store, monkeypatch, [RoleChange(1, Role.BOTH, Reason.FIXED)])
    assert (store.get("worker", "decode-1") or {})["role"] == "both"


def test_resize_changes_the_pool_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = tick(store, monkeypatch, [Resize(Role.DECODE, 4, Reason.FIXED)])
    assert counts(store) == {"prefill": 1, "decode": 4}
    decisions.tick(WORKERS, {})
    assert [event["reason"] for _, event in store.events()] == ["PoolScaled"]


def test_unknown_policy_is_reported_and_changes_nothing(store: Store) -> None:
    store.put("policy", "scaling", {"name": "nope", "parameters": {}})
    decisions = Decisions(store)
    decisions.tick(WORKERS, {})
    decisions.tick(WORKERS, {})
    assert [event["reason"] for _, event in store.events()] == ["PolicyInvalid"]
