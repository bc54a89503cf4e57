"""Routing policies: what holds for all of them, and what each is for."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.decisions import Reason
from orchestrator.policies.registry import available, make
from orchestrator.policies.routing.base import RoutingPolicy
from tests.policies.views import BLOCK_TOKENS, FixedPrefixes, make_request, make_view, nothing_held, views

P, D, B = Role.PREFILL, Role.DECODE, Role.BOTH
NAMES = [info.name for info in available("routing")]
every_policy = pytest.mark.parametrize("name", NAMES)
deterministic = settings(derandomize=True, deadline=None, max_examples=150)


def policy(name: str, **parameters: Any) -> RoutingPolicy:
    made: RoutingPolicy = make("routing", name, parameters)
    return made


def blocks(tokens: int, view: ClusterView, row: int) -> int:
    return -(-tokens // int(view.block_tokens[row]))


def test_the_baselines_are_there() -> None:
    assert {"round_robin", "least_load", "prefix_aware"} <= set(NAMES)


@every_policy
@deterministic
@given(view=views(), prompt=st.integers(1, 2000), held=st.lists(st.integers(0, 100), min_size=8, max_size=8))
def test_a_placement_is_an_open_row_with_room(name: str, view: ClusterView, prompt: int, held: list[int]) -> None:
    before = copy.deepcopy(view)
    chosen = policy(name)
    request = make_request(prompt)
    first = chosen.place_prefill(request, view, FixedPrefixes(held))
    opens = {int(r) for r in np.flatnonzero(view.accepts)}
    prefillers = {r for r in opens if view.role[r] & P}

    def fits(row: int, tokens: int) -> bool:
        return bool(view.kv_total_blocks[row] - view.kv_used_blocks[row] >= blocks(tokens, view, row))

    candidates = {r for r in prefillers or opens if fits(r, prompt + (1 if view.role[r] & D else 0))}
    if first.worker is None:
        assert first.reason is Reason.NO_CAPACITY and not candidates and first.detail
    else:
        assert first.worker in candidates
        assert first.co_locate == bool(view.role[first.worker] & D)
        assert (first.reason is Reason.NO_PREFILL_WORKER) == (not prefillers)

    second = chosen.place_decode(request, view, first.worker)
    decoders = {r for r in opens if view.role[r] & D}
    if first.worker is not None and view.role[first.worker] & D:
        assert (second.worker, second.reason, second.co_locate) == (first.worker, Reason.CO_LOCATED, True)
    elif second.co_locate:
        assert second.worker == first.worker and second.reason is Reason.NO_DECODE_WORKER
    elif second.worker is None:
        assert second.reason is Reason.NO_CAPACITY and second.detail
    else:
        assert second.worker in decoders and fits(second.worker, prompt + 1)
        if first.worker is not None:
            assert view.block_tokens[second.worker] == view.block_tokens[first.worker]

    for column in ("role", "accepts", "kv_used_blocks", "outstanding_prefill_tokens", "decode_context_tokens"):
        assert np.array_equal(getattr(view, column), getattr(before, column))


@every_policy
@deterministic
@given(view=views(), prompts=st.lists(st.integers(1, 500), max_size=10))
def test_equal_policies_decide_equally(name: str, view: ClusterView, prompts: list[int]) -> None:
    one, two = policy(name), policy(name)
    for prompt in prompts:
        request = make_request(prompt)
        assert one.place_prefill(request, view, nothing_held(view)) == two.place_prefill(
            request, view, nothing_held(view)
        )
        assert one.place_decode(request, view, None) == two.place_decode(request, view, None)


@every_policy
def test_no_decode_worker_co_locates_on_the_prefill_worker(name: str) -> None:
    view = make_view([P, P])
    chosen = policy(name)
    first = chosen.place_prefill(make_request(), view, nothing_held(view))
    assert first.worker is not None and not first.co_locate
    second = chosen.place_decode(make_request(), view, first.worker)
    assert (second.worker, second.reason, second.co_locate) == (first.worker, Reason.NO_DECODE_WORKER, True)


@every_policy
def test_closed_decode_workers_count_as_none(name: str) -> None:
    view = make_view([P, D])
    view.accepts[1] = False
    assert policy(name).place_decode(make_request(), view, 0).reason is Reason.NO_DECODE_WORKER


@every_policy
def test_no_prefill_worker_co_locates_on_a_decode_worker(name: str) -> None:
    view = make_view([D, D])
    first = policy(name).place_prefill(make_request(), view, nothing_held(view))
    assert first.worker in (0, 1) and first.reason is Reason.NO_PREFILL_WORKER and first.co_locate
    second = policy(name).place_decode(make_request(), view, first.worker)
    assert (second.worker, second.reason, second.co_locate) == (first.worker, Reason.CO_LOCATED, True)


@every_policy
def test_no_worker_at_all(name: str) -> None:
    for view in (make_view([]), make_view([P, D])):
        view.accepts[:] = False
        assert policy(name).place_prefill(make_request(), view, nothing_held(view)).reason is Reason.NO_CAPACITY
        assert policy(name).place_decode(make_request(), view, None).reason is Reason.NO_CAPACITY


@every_policy
def test_decode_needs_room_for_the_prompt_and_one_token(name: str) -> None:
    view = make_view([P, D, D], used=[0, 96, 96])
    assert policy(name).place_decode(make_request(4 * BLOCK_TOKENS - 1), view, 0).worker in (1, 2)
    full = policy(name).place_decode(make_request(4 * BLOCK_TOKENS), view, 0)
    assert full.worker is None and full.reason is Reason.NO_CAPACITY and "needs 5 KV blocks" in full.detail
    view.kv_used_blocks[2] = 95
    assert policy(name).place_decode(make_request(4 * BLOCK_TOKENS), view, 0).worker == 2


@every_policy
def test_a_full_prefill_worker_takes_no_prompt(name: str) -> None:
    view = make_view([P, P, D], used=[100, 10, 0])
    assert policy(name).place_prefill(make_request(), view, nothing_held(view)).worker == 1
    view.kv_used_blocks[1] = 97
    assert policy(name).place_prefill(make_request(), view, nothing_held(view)).reason is Reason.NO_CAPACITY


@every_policy
def test_one_candidate(name: str) -> None:
    view = make_view([P, D])
    assert policy(name).place_prefill(make_request(), view, nothing_held(view)).reason is Reason.ONLY_CANDIDATE
    assert policy(name).place_decode(make_request(), view, 0).reason is Reason.ONLY_CANDIDATE


@every_policy
@pytest.mark.parametrize("workers", [2, 3, 5])
def test_a_burst_on_an_idle_cluster_spreads_evenly(name: str, workers: int) -> None:
    view = make_view([P] * workers + [D] * workers)
    chosen = policy(name)
    prefill = Counter(chosen.place_prefill(make_request(), view, nothing_held(view)).worker for _ in range(7 * workers))
    decode = Counter(chosen.place_decode(make_request(), view, 0).worker for _ in range(7 * workers))
    assert prefill == dict.fromkeys(range(workers), 7)
    assert decode == dict.fromkeys(range(workers, 2 * workers), 7)


@deterministic
@given(view=views(), turns=st.integers(1, 30))
def test_round_robin_is_fair(view: ClusterView, turns: int) -> None:
    chosen = policy("round_robin")
    placed = [chosen.place_prefill(make_request(1), view, nothing_held(view)).worker for _ in range(turns)]
    counts = Counter(placed)
    if None not in counts:
        assert max(counts.values()) - min(counts.values()) <= 1
        rows = sorted(r for r in counts if r is not None)
        assert placed == [rows[i % len(rows)] for i in range(turns)]


@deterministic
@given(view=views(), prompt=st.integers(1, 300))
def test_least_load_takes_the_lightest(view: ClusterView, prompt: int) -> None:
    chosen = policy("least_load")
    request = make_request(prompt)
    first = chosen.place_prefill(request, view, nothing_held(view))
    load = view.kv_used_blocks * view.block_tokens + view.decode_context_tokens
    if first.worker is not None and first.reason is not Reason.NO_PREFILL_WORKER:
        free = view.free_blocks()
        work = view.outstanding_prefill_tokens + np.where(view.role & D, load, 0)
        for row in view.eligible(P):
            if free[row] >= blocks(prompt + 1, view, row):
                assert work[first.worker] <= work[row]
    second = chosen.place_decode(request, view, None)
    if second.worker is not None:
        for row in view.eligible(D):
            if view.free_blocks()[row] >= blocks(prompt + 1, view, row):
                assert load[second.worker] <= load[row]


def test_prefix_aware_goes_where_the_prefix_is() -> None:
    view = make_view([P, P, D], outstanding=[0, 100, 0])
    chosen = policy("prefix_aware")
    hit = chosen.place_prefill(make_request(640), view, FixedPrefixes([0, 20, 0]))
    assert (hit.worker, hit.reason) == (1, Reason.PREFIX_HIT) and "320 of 640" in hit.detail
    miss = chosen.place_prefill(make_request(640), view, FixedPrefixes([0, 0, 40]))
    assert (miss.worker, miss.reason) == (0, Reason.PREFIX_MISS)


def test_prefix_aware_weighs_the_queue_against_the_prefix() -> None:
    view = make_view([P, P, D], outstanding=[0, 319, 0])
    chosen = policy("prefix_aware")
    assert chosen.place_prefill(make_request(640), view, FixedPrefixes([0, 20, 0])).worker == 1
    view.outstanding_prefill_tokens[1] = 321
    assert chosen.place_prefill(make_request(640), view, FixedPrefixes([0, 20, 0])).worker == 0


def test_prefix_aware_leaves_a_worker_that_is_too_busy() -> None:
    view = make_view([P, P, D], outstanding=[0, 101, 0], total=1000)
    chosen = policy("prefix_aware", imbalance_tokens=100)
    placed = chosen.place_prefill(make_request(6400), view, FixedPrefixes([0, 400, 0]))
    assert (placed.worker, placed.reason) == (0, Reason.PREFIX_IMBALANCED)
    view.outstanding_prefill_tokens[1] = 100
    placed = chosen.place_prefill(make_request(6400), view, FixedPrefixes([0, 400, 0]))
    assert (placed.worker, placed.reason) == (1, Reason.PREFIX_HIT)


def test_workers_of_both_roles_keep_their_request() -> None:
    view = make_view([B, B])
    for name in NAMES:
        chosen = policy(name)
        first = chosen.place_prefill(make_request(), view, nothing_held(view))
        second = chosen.place_decode(make_request(), view, first.worker)
        assert first.co_locate and second.worker == first.worker and second.reason is Reason.CO_LOCATED


@every_policy
def test_a_worker_that_decodes_too_needs_room_for_one_token_more(name: str) -> None:
    exact = make_request(4 * BLOCK_TOKENS)
    prefill_only, both = make_view([P, D], used=[96, 0]), make_view([B], used=[96])
    assert policy(name).place_prefill(exact, prefill_only, nothing_held(prefill_only)).worker == 0
    assert policy(name).place_prefill(exact, both, nothing_held(both)).reason is Reason.NO_CAPACITY
    assert policy(name).place_prefill(make_request(63), both, nothing_held(both)).worker == 0


def test_pairs_have_equal_blocks() -> None:
    view = make_view([P, D, D])
    view.block_tokens[1] = 256
    for name in NAMES:
        assert policy(name).place_decode(make_request(), view, 0).worker == 2


def test_least_load_counts_what_a_worker_of_both_roles_decodes() -> None:
    view = make_view([B, B], outstanding=[0, 100], used=[50, 0])
    assert policy("least_load").place_prefill(make_request(10), view, nothing_held(view)).worker == 1
