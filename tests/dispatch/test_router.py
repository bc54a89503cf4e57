"""The router's view: pushed load of other front doors plus everything of our own, counted once."""

import numpy as np

from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestView
from orchestrator.policies.registry import make
from orchestrator.routing.router import Report, Router


def report(**changes):
    fields = {
        "running": 0,
        "waiting": 0,
        "prefill_tokens": 0,
        "context_tokens": 0,
        "used_blocks": 0,
        "total_blocks": 100,
        "block_tokens": 16,
        "step_time_s": 0.001,
    }
    return Report(**{**fields, **changes})


def cluster():
    router = Router(make("routing", "least_load", {}), clock=lambda: 5.0)
    for name, role in (("p0", Role.PREFILL), ("d0", Role.DECODE), ("d1", Role.DECODE)):
        router.set_worker(name, role, True)
        router.report(name, report())
    return router


def request(name="r", tokens=100):
    return RequestView(name, tokens, 16, 0.0)


def test_dispatched_load_counts_before_any_push():
    router = cluster()
    router.account(request(), "d0", Role.DECODE)
    placement = router.place_decode(request("s"), router.row("p0"))
    assert router.view.names[placement.worker] == "d1"
    assert router.view.kv_used_blocks[router.row("d0")] == 7


def test_a_push_that_contains_our_load_is_not_counted_twice():
    router = cluster()
    router.account(request(), "d0", Role.DECODE)
    router.report("d0", report(used_blocks=7 + 5, context_tokens=100))
    assert router.view.kv_used_blocks[router.row("d0")] == 12
    router.settle("r")
    assert router.view.kv_used_blocks[router.row("d0")] == 5


def test_a_phase_placed_again_leaves_its_first_worker():
    router = cluster()
    router.account(request(), "d0", Role.DECODE)
    router.account(request(), "d1", Role.DECODE)
    assert router.view.kv_used_blocks[[router.row("d0"), router.row("d1")]].tolist() == [0, 7]


def test_a_worker_that_joins_later_keeps_the_others():
    router = cluster()
    router.account(request(), "p0", Role.PREFILL)
    router.set_worker("d2", Role.DECODE, True)
    router.report("d2", report())
    assert len(router.view) == 4
    assert router.view.outstanding_prefill_tokens[router.row("p0")] == 100


def test_closed_workers_get_nothing():
    router = cluster()
    for name in ("d0", "d1"):
        router.set_accepts(name, False)
    placement = router.place_decode(request(), router.row("p0"))
    assert placement.co_locate
    assert router.view.names[placement.worker] == "p0"


def test_events_of_unknown_workers_are_ignored():
    router = cluster()
    router.cache_events("ghost", [1, 2], [])
    router.report("ghost", report())
    assert len(router.prefix) == 0


def test_age_counts_from_the_last_push_and_is_zero_before_the_first():
    now = [5.0]
    router = Router(make("routing", "least_load", {}), clock=lambda: now[0])
    router.set_worker("a", Role.BOTH, True)
    router.report("a", report())
    now[0] = 7.0
    router.set_worker("b", Role.BOTH, True)
    router.place_prefill(request())
    assert router.view.age_s.tolist() == [2.0, 0.0]
    router.report("b", report())
    now[0] = 7.5
    router.place_prefill(request())
    assert (router.view.age_s.tolist(), router.view.time_s) == ([2.5, 0.5], 7.5)


def joined(router: Router, name: str, role: Role = Role.DECODE) -> None:
    router.set_worker(name, role, True)
    router.report(name, report())


def test_the_row_of_a_worker_that_left_for_good_is_given_again():
    router = cluster()
    router.cache_events("d0", [1, 2, 3], [])
    router.account(request(), "d0", Role.DECODE)
    assert not router.remove_worker("d0"), "a request still counts there"
    router.settle("r")
    row = router.row("d0")
    assert router.remove_worker("d0") and router.remove_worker("d0")
    assert router.workers() == ["p0", "d1"] and len(router.prefix) == 0
    assert not router.view.accepts[row] and not router.view.role[row] and not router.view.free_blocks()[row]
    assert {router.place_decode(request(), router.row("p0")).worker for _ in range(4)} == {router.row("d1")}
    joined(router, "d9")
    assert router.row("d9") == row and len(router.view) == 3 and router.view.names[row] == "d9"
    assert router.view.age_s[row] == 0.0 and router.view.kv_used_blocks[row] == 0
    for i in range(200):
        joined(router, f"x{i}")
        assert router.remove_worker(f"x{i}")
    assert len(router.view) == 4


def test_changes_of_roles_and_doors_are_seen_at_once():
    router = cluster()
    p0, d0, d1 = (router.row(name) for name in ("p0", "d0", "d1"))
    assert router.place_prefill(request()).worker == p0
    router.set_worker("d0", Role.PREFILL, True)
    assert {router.place_prefill(request()).worker for _ in range(2)} == {p0, d0}
    router.set_accepts("p0", False)
    assert router.place_prefill(request()).worker == d0
    assert router.place_decode(request(), d0).worker == d1
    router.set_worker("d1", Role.BOTH, True)
    assert {router.place_prefill(request()).worker for _ in range(2)} == {d0, d1}
    assert router.view.takes(Role.DECODE).tolist() == [False, False, True]


def choices(name: str, policy: str, workers: int = 8, turns: int = 64) -> list[int | None]:
    router = Router(make("routing", policy, {}), clock=lambda: 5.0, name=name)
    for i in range(workers):
        joined(router, f"p{i}", Role.PREFILL)
    return [router.place_prefill(request()).worker for _ in range(turns)]


def test_front_doors_with_equal_views_do_not_choose_in_step():
    for policy in ("least_load", "prefix_aware"):
        doors = [choices(f"front-{i}", policy) for i in range(4)]
        for chosen in doors:
            assert all(sorted(chosen[at : at + 8]) == list(range(8)) for at in range(0, 64, 8)), "every lap is fair"
        for i in range(4):
            for other in doors[i + 1 :]:
                assert sum(a == b for a, b in zip(doors[i], other, strict=True)) <= 24
        assert choices("front-0", policy) == doors[0], "the same front door draws the same"
    assert len({choices(f"front-{i}", "round_robin")[0] for i in range(16)}) > 4


def test_a_burst_of_misses_spreads_over_the_workers():
    router = Router(make("routing", "prefix_aware", {}), clock=lambda: 5.0)
    for i in range(10):
        joined(router, f"p{i}", Role.PREFILL)
    placed = []
    for i in range(30):
        asked = RequestView(f"r{i}", 32, 16, 0.0, block_hashes=np.array([7, 8], np.uint64))
        worker = router.place_prefill(asked).worker
        placed.append(worker)
        router.account(asked, router.view.names[worker], Role.PREFILL)
    assert sorted(placed) == sorted(list(range(10)) * 3)


def test_a_decode_worker_that_cannot_pull_from_the_prefill_worker_gets_nothing_from_it():
    router = cluster()
    router.set_worker("p1", Role.PREFILL, True)
    router.report("p1", report())
    router.unusable("d0", ["p0"])
    placed = [router.place_decode(request(f"r{i}"), router.row("p0")) for i in range(4)]
    assert {router.view.names[p.worker] for p in placed} == {"d1"}
    router.account(request(), "d1", Role.DECODE)
    assert router.view.names[router.place_decode(request("s"), router.row("p1")).worker] == "d0"
    router.unusable("d0", [])
    assert router.view.names[router.place_decode(request("t"), router.row("p0")).worker] == "d0"


def test_a_prompt_whose_kv_nobody_can_pull_is_decoded_where_it_is():
    router = cluster()
    router.unusable("d0", ["p0"])
    router.unusable("d1", ["p0", "p9"])
    placement = router.place_decode(request(), router.row("p0"))
    assert placement.co_locate and router.view.names[placement.worker] == "p0"
    assert router.view.accepts.tolist() == [True, True, True], "the view of others is as it was"


def test_a_worker_that_left_bars_nobody():
    router = cluster()
    router.unusable("d0", ["p0"])
    assert router.remove_worker("d0")
    assert router.view.names[router.place_decode(request(), router.row("p0")).worker] == "d1"
