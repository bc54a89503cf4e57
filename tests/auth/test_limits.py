"""Requests a minute, requests at once and tokens a minute of one key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.frontend.auth import Gate, Keyring
from orchestrator.frontend.auth.api_key import KeyRole
from orchestrator.frontend.auth.bucket import Bucket
from orchestrator.frontend.service import Cause, ServiceError


class Clock:
    now_s = 5.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def gate_with(line, clock, refused=None):
    return Gate(Keyring(None, line, clock), clock=clock, refused=refused)


def enter(gate, key="k"):
    return gate.admit(f"Bearer {key}", KeyRole.USER, counted=True)


def test_requests_a_minute(clock):
    seen = []
    gate = gate_with("k user team rpm=6", clock, seen.append)
    for _ in range(6):
        enter(gate).done()
    with pytest.raises(ServiceError, match="team may send 6 requests a minute") as error:
        enter(gate)
    assert error.value.cause is Cause.KEY_REQUESTS
    assert error.value.retry_after_s == pytest.approx(10.0)
    clock.now_s += 10.0
    enter(gate).done()
    with pytest.raises(ServiceError):
        enter(gate)
    assert seen == ["key_requests", "key_requests"]


def test_requests_at_once(clock):
    gate = gate_with("k user team concurrent=2", clock)
    first, second = enter(gate), enter(gate)
    with pytest.raises(ServiceError) as error:
        enter(gate)
    assert error.value.cause is Cause.KEY_CONCURRENCY
    first.done()
    first.done()  # counts once
    third = enter(gate)
    with pytest.raises(ServiceError):
        enter(gate)
    second.done()
    third.done()


def test_tokens_a_minute_give_back_what_was_not_used(clock):
    gate = gate_with("k user team tpm=100", clock)
    caller = enter(gate)
    caller.charge(90)
    other = enter(gate)
    with pytest.raises(ServiceError) as error:
        other.charge(20)
    assert error.value.cause is Cause.KEY_TOKENS
    assert error.value.retry_after_s == pytest.approx(6.0)
    other.done()
    caller.done(used_tokens=30)
    enter(gate).charge(70)
    with pytest.raises(ServiceError):
        enter(gate).charge(1)


def test_names_share_limits_and_other_keys_do_not_feel_them(clock):
    gate = gate_with("old user team rpm=2; new user team rpm=2; other user rich; ops operator", clock)
    enter(gate, "old").done()
    enter(gate, "new").done()
    with pytest.raises(ServiceError):
        enter(gate, "old")
    for _ in range(100):
        enter(gate, "other").done()
        enter(gate, "ops").done()


def test_what_is_not_counted_is_free(clock):
    gate = gate_with("k user team rpm=1", clock)
    for _ in range(5):
        gate.admit("Bearer k", KeyRole.USER).done()


def test_memory_follows_the_keys_that_there_are(tmp_path, clock):
    file = tmp_path / "keys"
    file.write_text("k0 operator n0 rpm=5\n")
    gate = Gate(Keyring(file, clock=clock), clock=clock)
    for round_ in range(100):
        file.write_text(f"k{round_} operator n{round_} rpm=5\n" + "#" * round_)
        clock.now_s += 20
        enter(gate, f"k{round_}").done()
    assert len(gate._usages) <= 11


def test_a_limit_that_changes_keeps_what_was_used(tmp_path, clock):
    file = tmp_path / "keys"
    file.write_text("k operator n rpm=100\n")
    gate = Gate(Keyring(file, clock=clock), clock=clock)
    for _ in range(100):
        enter(gate).done()
    file.write_text("k operator n rpm=60 # less\n")
    clock.now_s += 2
    with pytest.raises(ServiceError, match="60 requests a minute"):
        for _ in range(5):
            enter(gate).done()


@given(
    per_minute=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20_000)), min_size=1, max_size=60),
)
def test_a_bucket_never_lets_more_through_than_its_rate_a_full_bucket_and_one_debt(per_minute, steps):
    now_s, taken, largest = 0.0, 0.0, 0
    bucket = Bucket(per_minute, now_s)
    for pause_s, cost in steps:
        now_s += pause_s
        wait_s = bucket.take(cost, now_s)
        if wait_s:
            assert bucket.take(cost, now_s + wait_s + 1e-6) == 0.0
            now_s += wait_s + 1e-6
        taken += cost
        largest = max(largest, cost)
        assert taken <= per_minute * (1 + now_s / 60) + max(0, largest - per_minute) + 1e-3


def test_a_clock_that_jumps_back_gives_nothing():
    bucket = Bucket(60, 1000.0)
    assert bucket.take(60, 1000.0) == 0
    assert bucket.take(1, 0.0) > 0
    assert bucket.take(1, 1000.0) > 0
    assert bucket.take(1, 1001.0) == 0
