"""Multiplexing, rebalancing, scaling, frequency, harvesting: the baselines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.decisions import IterationPlan, Reason
from orchestrator.policies.registry import make
from tests.policies.views import make_view, views


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 4096), st.integers(1, 512), st.integers(0, 5000), st.integers(0, 10**6))
def test_chunked_shares_a_budget(budget: int, least: int, decode: int, waiting: int) -> None:
    chunked = make("multiplexing", "chunked", {"budget_tokens": budget, "min_prefill_tokens": least})
    plan = chunked.plan(decode, waiting)
    assert plan.prefill_budget_tokens >= least
    assert decode + plan.prefill_budget_tokens == budget or plan.prefill_budget_tokens == least
    assert plan.reason is Reason.TOKEN_BUDGET and plan.valid_steps == 0


def test_chunked_by_default() -> None:
    chunked = make("multiplexing", "chunked")
    assert chunked.plan(12, 10_000) == IterationPlan(500, Reason.TOKEN_BUDGET, 0)
    assert chunked.plan(510, 10_000).prefill_budget_tokens == 16


@settings(derandomize=True, deadline=None)
@given(views())
def test_baselines_leave_the_cluster_alone(view: ClusterView) -> None:
    assert make("rebalancing", "none").decide(view) == []
    assert make("scaling", "static").decide(view) == []


def test_maximum_clock() -> None:
    clock = make("frequency", "maximum").clock_mhz([1410, 1980, 345], 8, 0)
    assert (clock.mhz, clock.reason, clock.valid_steps) == (1980, Reason.FIXED, 0)
    with pytest.raises(ValueError, match="supports no clocks"):
        make("frequency", "maximum").clock_mhz([], 8, 0)


def test_no_harvesting() -> None:
    assert make("harvesting", "none").units(8, 4096, 0.05).units == 0


def test_views_for_these_tests_are_open() -> None:
    assert list(make_view([Role.PREFILL, Role.DECODE]).eligible(Role.DECODE)) == [1]
