"""What is predicted of the pace of decoding, and when a request more is too many."""

import pytest

from orchestrator.core.cluster import Role
from orchestrator.policies.registry import make
from orchestrator.routing.congestion import Congestion
from orchestrator.routing.router import Router
from orchestrator.routing.tempo import STALE_S, Tempo


def run(tempo, loads, step_s, start_s=100.0):
    """A worker whose step takes `step_s(requests)`; one report every 0.25 s. Returns the time at the end."""
    tokens, now_s = 0.0, start_s
    for requests in loads:
        tempo.heard(now_s, requests, int(tokens))
        tokens += requests * 0.25 / step_s(requests)
        now_s += 0.25
    return now_s


def test_a_line_is_found_and_prolonged():
    tempo = Tempo()
    now_s = run(tempo, [4] * 8 + [8] * 8 + [12] * 8, lambda n: 0.01 + 0.002 * n)
    assert tempo.tpot_s(now_s, 12) == pytest.approx(0.034, rel=0.1)
    assert tempo.tpot_s(now_s, 24) == pytest.approx(0.058, rel=0.15)


def test_one_load_alone_gives_half_of_proportion():
    tempo = Tempo()
    now_s = run(tempo, [10] * 12, lambda n: 0.05)
    assert tempo.tpot_s(now_s, 10) == pytest.approx(0.05, rel=0.05)
    assert tempo.tpot_s(now_s, 20) == pytest.approx(0.075, rel=0.05)


def test_old_samples_and_idle_times_say_nothing():
    tempo = Tempo()
    now_s = run(tempo, [10] * 12, lambda n: 0.05)
    assert tempo.tpot_s(now_s + STALE_S + 1, 10) == 0.0
    idle = Tempo()
    assert run(idle, [0, 1, 0, 0, 1, 0] * 4, lambda n: 1.0) and idle.tpot_s(106.0, 1) == 0.0


def test_a_worker_that_started_again_counts_from_zero():
    tempo = Tempo()
    now_s = run(tempo, [10] * 12, lambda n: 0.05)
    tempo.heard(now_s, 10, 0)
    assert tempo.tpot_s(now_s, 10) == pytest.approx(0.05, rel=0.05)


@pytest.fixture
def busy():
    """Two decode workers with ten requests each, at 50 ms a token."""
    router = Router(make("routing", "least_load", {}))
    router.set_worker("prefill-0", Role.PREFILL, True)
    congestion = Congestion(router)
    for name in ("decode-0", "decode-1"):
        router.set_worker(name, Role.DECODE, True)
        for i in range(12):
            congestion.heard(name, 100.0 + 0.25 * i, 10, 0, 50 * i)
    return router, congestion


def test_a_request_more_is_let_in_while_its_goal_holds(busy):
    _, congestion = busy
    assert congestion.excess_s(0.1, 0, 103.0) == 0.0
    assert congestion.excess_s(0.05, 0, 103.0) == pytest.approx(0.0525, rel=0.02)
    # Those that wait already will slow it down too: 40 on two workers.
    assert congestion.excess_s(0.1, 40, 103.0) > congestion.margin.share * 0.1


def test_a_worker_with_nothing_to_do_bears_any_request(busy):
    _, congestion = busy
    congestion.heard("decode-1", 103.0, 0, 0, 600)
    assert congestion.excess_s(0.001, 0, 103.0) == 0.0


def test_workers_that_take_no_work_do_not_count(busy):
    router, congestion = busy
    congestion.heard("decode-1", 103.0, 0, 0, 600)
    router.set_accepts("decode-1", False)
    assert congestion.excess_s(0.001, 0, 103.0) > 0.05
    congestion.gone("decode-0")
    assert congestion.excess_s(0.001, 0, 103.0) == 0.0
