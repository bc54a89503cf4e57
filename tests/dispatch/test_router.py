"""The router's view: pushed load of other front doors plus everything of our own, counted once."""

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
