"""fcfs: strict arrival order, never past what fits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.decisions import Admission, Reason
from orchestrator.core.request import RequestView
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.policies.registry import make
from tests.policies.views import make_request


def fcfs() -> AdmissionPolicy:
    made: AdmissionPolicy = make("admission", "fcfs")
    return made


def test_everything_fits() -> None:
    queue = [make_request(10), make_request(20)]
    assert fcfs().admit(queue, 0, 100, 16, 8) == Admission((0, 1), Reason.ARRIVAL_ORDER)
    assert fcfs().admit([], 8, 0, 16, 8) == Admission((), Reason.ARRIVAL_ORDER)


def test_nobody_overtakes_a_large_request() -> None:
    queue = [make_request(10), make_request(1000), make_request(10)]
    assert fcfs().admit(queue, 0, 20, 16, 8) == Admission((0,), Reason.KV_FULL)


def test_the_batch_is_bounded() -> None:
    queue = [make_request(1)] * 5
    assert fcfs().admit(queue, 6, 100, 16, 8) == Admission((0, 1), Reason.BATCH_FULL)
    assert fcfs().admit(queue, 9, 100, 16, 8) == Admission((), Reason.BATCH_FULL)


def test_blocks_cover_the_prompt_and_one_token() -> None:
    assert fcfs().admit([make_request(15)], 0, 1, 16, 8).admit == (0,)
    assert fcfs().admit([make_request(16)], 0, 1, 16, 8).admit == ()


def test_a_preempted_request_comes_first_again() -> None:
    queue = [make_request(1, arrival_s=5.0), make_request(1, arrival_s=6.0), make_request(1, arrival_s=1.0)]
    assert fcfs().admit(queue, 0, 100, 16, 2).admit == (2, 0)


@settings(derandomize=True, deadline=None)
@given(
    queue=st.lists(
        st.builds(make_request, st.integers(1, 300), st.sampled_from([0.0, 1.0, 2.0])),
        max_size=12,
    ),
    running=st.integers(0, 10),
    free=st.integers(0, 60),
    block_tokens=st.sampled_from([1, 16, 256]),
    max_batch=st.integers(1, 10),
)
def test_admits_the_longest_prefix_of_arrivals_that_fits(
    queue: list[RequestView], running: int, free: int, block_tokens: int, max_batch: int
) -> None:
    order = sorted(range(len(queue)), key=lambda i: (queue[i].arrival_s, i))
    result = fcfs().admit(queue, running, free, block_tokens, max_batch)
    assert list(result.admit) == order[: len(result.admit)]
    need = [-(-(queue[i].prompt_tokens + 1) // block_tokens) for i in order]
    count = len(result.admit)
    assert sum(need[:count]) <= free
    assert count == 0 or running + count <= max_batch
    if count == len(queue):
        assert result.reason is Reason.ARRIVAL_ORDER
    elif result.reason is Reason.BATCH_FULL:
        assert running + count >= max_batch
    else:
        assert result.reason is Reason.KV_FULL and sum(need[: count + 1]) > free
