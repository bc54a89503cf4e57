"""The circuit breaker, the budget of retries, and the wait that newcomers are told."""

from orchestrator.core.cluster import Role
from orchestrator.frontend.breaker import Breaker, BreakerLimits, BreakerState
from orchestrator.frontend.gates import Gates
from orchestrator.frontend.retry_budget import RetryBudget
from orchestrator.observability import Metrics
from orchestrator.policies.registry import make
from orchestrator.routing.patience import Patience
from orchestrator.routing.router import Router

LIMITS = BreakerLimits(failures=3, window_s=10.0, open_s=2.0, most_s=5.0)


def opened(at_s=0.0):
    breaker = Breaker(LIMITS)
    assert [breaker.failed(at_s) for _ in range(3)] == [False, False, True]
    return breaker


def test_it_opens_only_on_failures_close_in_time():
    breaker = Breaker(LIMITS)
    assert not any(breaker.failed(t) for t in (0.0, 6.0, 12.0, 18.0))
    assert breaker.state is BreakerState.CLOSED
    assert breaker.failed(19.0)


def test_one_request_is_on_trial_and_its_success_closes():
    breaker = opened()
    assert not breaker.takes(1.9)
    assert breaker.takes(2.0)
    breaker.placed("trial")
    assert not breaker.takes(2.1)
    assert not breaker.succeeded("other")
    assert breaker.succeeded("trial")
    assert breaker.takes(2.2)


def test_a_failed_trial_opens_it_for_longer_up_to_a_limit():
    breaker, now_s = opened(), 0.0
    for wait_s in (2.0, 4.0, 5.0, 5.0):
        assert not breaker.takes(now_s + wait_s - 0.1)
        now_s += wait_s
        assert breaker.takes(now_s)
        breaker.placed("trial")
        assert breaker.failed(now_s)


def test_a_trial_that_tells_nothing_makes_room_for_another():
    breaker = opened()
    assert breaker.takes(2.0)
    breaker.placed("gone")
    breaker.left("gone")
    assert breaker.takes(2.0)


def test_retries_are_a_share_of_requests():
    budget = RetryBudget(ratio=0.5, most=2.0, left=2.0)
    assert [budget.retry() for _ in range(3)] == [True, True, False]
    budget.request()
    assert not budget.retry()
    budget.request()
    assert budget.retry()
    assert not budget.retry()


def test_the_wait_follows_the_queue_and_the_pace():
    patience = Patience()
    for _ in range(50):
        patience.arrived(100, 0.0)
    for i in range(40):
        patience.served(100, 0.1 * (i + 1))
    assert patience.waiting == 10
    assert abs(patience.wait_s(100) - 1.1) < 1e-6
    assert 1.1 < patience.wait_s(1000) < 2.0, "a long prompt waits for itself too"
    for _ in range(10):
        patience.left(100)
    assert patience.wait_s(100) == 0.0


def test_an_idle_cluster_is_not_a_slow_one():
    patience = Patience()
    for i in range(20):
        patience.arrived(100, 100.0 * i)
        patience.served(100, 100.0 * i + 0.02)
    patience.arrived(100, 1e5)
    assert patience.wait_s(100) < 0.05


def test_a_new_incarnation_begins_with_a_closed_breaker():
    router = Router(make("routing", "least_load", {}))
    gates = Gates(router, Metrics())
    gates.want("decode-0", Role.DECODE, True)
    gates.want("decode-1", Role.DECODE, True)
    for _ in range(5):
        gates.failed("decode-0", "transfer: peer gone")
    assert gates.state("decode-0") is BreakerState.OPEN and not router.view.accepts[router.row("decode-0")]
    gates.renew("decode-0")
    assert gates.state("decode-0") is BreakerState.CLOSED and router.view.accepts.all()


def test_short_prompts_do_not_make_a_long_one_late():
    patience = Patience()
    for i in range(20):
        patience.arrived(1, 1.0 * i)
        patience.served(1, 1.0 * i + 0.015)
    patience.arrived(4000, 100.0)
    assert patience.wait_s(4000) < 1.0


def test_a_breaker_is_ignored_where_no_other_worker_is_left():
    router, clock_s = Router(make("routing", "least_load", {})), [0.0]
    gates = Gates(router, Metrics(), clock=lambda: clock_s[0])
    names = ("decode-0", "decode-1")
    for name in names:
        gates.want(name, Role.DECODE, True)

    def open_to() -> list[bool]:
        return [bool(router.view.accepts[router.row(name)]) for name in names]

    for _ in range(5):
        gates.failed("decode-0", "test")
    assert open_to() == [False, True]
    gates.shut("decode-1")
    assert open_to() == [True, False]
    gates.want("decode-1", Role.DECODE, True)
    assert open_to() == [False, True]
    for _ in range(5):
        gates.failed("decode-1", "test")
    assert open_to() == [True, True]
    # A trial keeps others away only where they can go elsewhere.
    clock_s[0] = 3.0
    gates.tick()
    gates.placed("decode-0", "a")
    assert open_to() == [True, True]
    assert gates.state("decode-0") is BreakerState.HALF_OPEN
    gates.succeeded("decode-0", "a")
    gates.placed("decode-1", "b")
    assert open_to() == [True, False]
