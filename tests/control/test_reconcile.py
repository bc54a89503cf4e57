"""Reconciliation without Ray: what is wanted against what is there."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control.reconcile import (
    Action,
    CreateWorker,
    KeepWorker,
    PoolTarget,
    RemoveWorker,
    RetireWorker,
    StartHost,
    StopHost,
    reconcile,
)

POOLS = [PoolTarget("prefill", "prefill", 1), PoolTarget("decode", "decode", 2)]


def worker(pool: str, index: int, role: str = "decode") -> dict[str, Any]:
    return {"name": f"{pool}-{index}", "pool": pool, "role": role, "index": index, "drain": None, "drained": False}


def test_empty_store_gets_documents_before_any_host() -> None:
    assert reconcile(POOLS, {}, set()) == [
        CreateWorker("prefill-0", "prefill", "prefill", 0),
        CreateWorker("decode-0", "decode", "decode", 0),
        CreateWorker("decode-1", "decode", "decode", 1),
    ]


def test_living_hosts_are_left_alone_and_missing_ones_made() -> None:
    workers = {"prefill-0": worker("prefill", 0), "decode-0": worker("decode", 0), "decode-1": worker("decode", 1)}
    assert reconcile(POOLS, workers, {"prefill-0", "decode-1"}) == [StartHost("decode-0", "decode")]
    assert reconcile(POOLS, workers, set(workers)) == []


def test_changed_role_restarts_nothing() -> None:
    workers = {
        "prefill-0": worker("prefill", 0),
        "decode-0": worker("decode", 0, "both"),
        "decode-1": worker("decode", 1),
    }
    assert reconcile(POOLS, workers, set(workers)) == []


def test_smaller_pool_gives_up_its_highest_index() -> None:
    workers = {"decode-0": worker("decode", 0), "decode-1": worker("decode", 1)}
    pools = [PoolTarget("decode", "decode", 1)]
    assert reconcile(pools, workers, set(workers)) == [RemoveWorker("decode-1")]
    del workers["decode-1"]
    assert reconcile(pools, workers, {"decode-0", "decode-1"}) == [StopHost("decode-1")]


def test_workers_of_a_removed_pool_go() -> None:
    assert reconcile([], {"old-0": worker("old", 0)}, {"old-0"}) == [RemoveWorker("old-0")]


LEAVING = {"budget_s": 10.0, "requested_at": 100.0, "leaving": True}


def test_serving_worker_finishes_its_work_before_it_goes() -> None:
    one = [PoolTarget("decode", "decode", 1)]
    workers = {"decode-0": worker("decode", 0), "decode-1": worker("decode", 1)}
    serving = set(workers)
    assert reconcile(one, workers, serving, serving, 100.0) == [RetireWorker("decode-1")]
    workers["decode-1"]["drain"] = LEAVING
    assert reconcile(one, workers, serving, serving, 105.0) == []
    assert reconcile(one, workers, serving, serving, 110.5) == [RemoveWorker("decode-1", busy=True)]
    workers["decode-1"]["drain"] = LEAVING | {"budget_s": 0.0}
    assert reconcile(one, workers, serving, serving, 101.0) == [], "it may be idle, and has not been asked"
    workers["decode-1"]["drain"] = LEAVING | {"budget_s": 0.0, "exceeded": True}
    assert reconcile(one, workers, serving, serving, 101.0) == [RemoveWorker("decode-1", busy=True)]
    workers["decode-1"]["drained"] = True
    assert reconcile(one, workers, serving, serving, 105.0) == [RemoveWorker("decode-1")]


def test_worker_that_was_drained_by_hand_leaves_at_once_and_one_that_drains_gets_the_time_of_the_pool() -> None:
    by_hand = {"budget_s": 9999.0, "requested_at": 100.0}
    workers = {"decode-0": worker("decode", 0) | {"drain": by_hand}}
    assert reconcile([], workers, {"decode-0"}, {"decode-0"}, 101.0) == [RetireWorker("decode-0")]
    workers["decode-0"]["drained"] = True
    assert reconcile([], workers, {"decode-0"}, {"decode-0"}, 101.0) == [RemoveWorker("decode-0")]


def test_worker_that_leaves_is_kept_when_it_is_wanted_again() -> None:
    workers = {"decode-0": worker("decode", 0) | {"drain": LEAVING}}
    pools = [PoolTarget("decode", "decode", 1)]
    assert reconcile(pools, workers, {"decode-0"}, {"decode-0"}, 101.0) == [KeepWorker("decode-0")]
    workers["decode-0"]["drain"] = {"budget_s": 10.0, "requested_at": 100.0}
    assert reconcile(pools, workers, {"decode-0"}, {"decode-0"}, 101.0) == []


def apply(action: Action, workers: dict[str, dict[str, Any]], hosts: set[str]) -> None:
    match action:
        case CreateWorker(name, pool, role, index):
            assert name not in workers
            workers[name] = worker(pool, index, role)
        case StartHost(name, _):
            assert name not in hosts
            hosts.add(name)
        case RemoveWorker(name):
            del workers[name]
        case RetireWorker(name):
            workers[name]["drain"] = LEAVING
        case KeepWorker(name):
            workers[name].update(drain=None, drained=False)
        case StopHost(name):
            hosts.remove(name)


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 4)),
    st.sets(st.tuples(st.sampled_from("abcd"), st.integers(0, 5))),
    st.sets(st.tuples(st.sampled_from("abcd"), st.integers(0, 5))),
    st.sets(st.tuples(st.sampled_from("abcd"), st.integers(0, 5))),
    st.booleans(),
)
def test_three_ticks_reach_what_is_wanted_from_anywhere(
    counts: dict[str, int],
    known: set[tuple[str, int]],
    alive: set[tuple[str, int]],
    ready: set[tuple[str, int]],
    finishes: bool,
) -> None:
    pools = [PoolTarget(name, "both", count) for name, count in counts.items()]
    workers = {f"{pool}-{index}": worker(pool, index) for pool, index in known}
    hosts = {f"{pool}-{index}" for pool, index in alive}
    serving = {f"{pool}-{index}" for pool, index in ready}
    for tick in range(3):
        # Either all work is finished after the first tick, or its time is over.
        for action in reconcile(pools, workers, hosts, serving & hosts, 100.0 + 1000.0 * tick * (not finishes)):
            apply(action, workers, hosts)
        for document in workers.values():
            document["drained"] = finishes and document["drain"] is not None
    wanted = {f"{pool}-{index}" for pool, count in counts.items() for index in range(count)}
    assert workers.keys() == wanted
    assert hosts == wanted
    assert reconcile(pools, workers, hosts, hosts, 5000.0) == []
