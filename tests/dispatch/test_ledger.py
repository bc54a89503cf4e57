"""The ledger counts what is dispatched, and its sums always equal a recount."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.cluster import Role
from orchestrator.routing.ledger import Entry, Ledger, Load

ENTRIES = st.builds(
    Entry,
    worker=st.sampled_from("abc"),
    role=st.sampled_from([Role.PREFILL, Role.DECODE]),
    prefill_tokens=st.integers(0, 100),
    context_tokens=st.integers(0, 100),
    blocks=st.integers(0, 10),
)
IDS = st.sampled_from(["r1", "r2", "r3"])


@given(st.lists(st.one_of(st.tuples(IDS, ENTRIES), IDS)))
def test_sums_equal_a_recount(operations):
    ledger = Ledger()
    for operation in operations:
        if isinstance(operation, tuple):
            ledger.put(*operation)
        else:
            ledger.drop_all(operation)
        ledger.check_integrity()
    for request_id in ("r1", "r2", "r3"):
        ledger.drop_all(request_id)
    assert all(ledger.load(worker) == Load() for worker in "abc")
    assert ledger.request_ids() == set()


def test_a_second_placement_replaces_the_first():
    ledger = Ledger()
    ledger.put("r", Entry("a", Role.DECODE, 0, 10, 1))
    ledger.put("r", Entry("b", Role.DECODE, 0, 12, 2))
    assert ledger.load("a") == Load()
    assert ledger.load("b") == Load(1, 0, 12, 2)


def test_integrity_names_the_worker():
    ledger = Ledger()
    ledger.put("r", Entry("a", Role.DECODE, 0, 10, 1))
    ledger.load("a").blocks += 1
    with pytest.raises(AssertionError, match="ledger of a"):
        ledger.check_integrity()
