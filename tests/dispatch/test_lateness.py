"""When a request is refused as too late, why, and for how long: on a clock that is handed in."""

import pytest

from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestView
from orchestrator.policies.registry import make
from orchestrator.routing.lateness import PAUSE_S, Lateness
from orchestrator.routing.margin import FIRST
from orchestrator.routing.router import Report, Router


def view(name, arrival_s, tokens=1000):
    return RequestView(name, tokens, 100, arrival_s)


def lateness(refuse=True):
    router = Router(make("routing", "least_load", {}), clock=lambda: 0.0)
    router.set_worker("decode-0", Role.DECODE, True)
    return Lateness(router, refuse)


def make_busy(late):
    """Ten requests at 50 ms a token, until 103.0 s; and one that waits for its first token, where the last took 2 s."""
    for i in range(13):
        late.heard("decode-0", Report(10, 0, 0, 0, 0, 100, 16, 0.05, 50 * i), 100.0 + 0.25 * i)
    first = view("first", 100.0)
    late.arrived(first)
    late.served(first, 102.0)
    late.arrived(view("second", 102.0))


def test_a_first_token_in_time_and_one_that_is_not():
    late = lateness()
    make_busy(late)
    assert late.check(1000, 4.0 / FIRST, None, 0, 103.0) is None
    refused = late.check(1000, 3.0, None, 0, 103.0)
    assert refused.retry_after_s == pytest.approx(4.0 - 3.0 * FIRST)
    assert refused.why("gold") == (
        "the first token would come after about 4.0 s, and gold promises 3 s; "
        "try again later, or choose a tier with a longer TTFT"
    )


def test_a_pace_that_holds_and_one_that_does_not():
    late = lateness()
    make_busy(late)
    assert late.check(1000, None, 0.1, 0, 103.0) is None
    refused = late.check(1000, 60.0, 0.05, 0, 103.0)
    assert refused.retry_after_s == PAUSE_S
    assert refused.why("gold").startswith("a token would take about 52 ms, and gold promises 50 ms; try again later")


def test_a_worker_that_is_gone_says_nothing_of_the_pace():
    late = lateness()
    make_busy(late)
    late.gone("decode-0")
    assert late.check(1000, None, 0.001, 0, 103.0) is None


def test_who_gives_up_waiting_makes_room():
    late = lateness()
    make_busy(late)
    late.left(view("second", 102.0))
    assert late.check(1000, 0.01, None, 0, 103.0) is None


def test_without_goals_or_without_refusal_everything_is_let_in():
    for late, ttft_slo_s, tpot_slo_s in ((lateness(), None, None), (lateness(refuse=False), 0.001, 0.001)):
        make_busy(late)
        assert late.check(1000, ttft_slo_s, tpot_slo_s, 0, 103.0) is None
