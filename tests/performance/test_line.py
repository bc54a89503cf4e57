"""Closed forms of decode runs against sums step by step."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.performance.line import Line

times = st.one_of(st.just(0.0), st.floats(1e-5, 0.1))
slopes = st.one_of(st.just(0.0), st.floats(1e-10, 1e-5))
lines = st.builds(Line, times, st.floats(1e-5, 0.1), slopes)
deterministic = settings(derandomize=True, deadline=None, max_examples=200)


def ends_s(line: Line, context: float, requests: int, steps: int) -> list[float]:
    return list(itertools.accumulate((line.step_s(context + requests * j) for j in range(steps)), initial=0.0))


@deterministic
@given(line=lines, context=st.integers(1, 200_000), requests=st.integers(1, 512), steps=st.integers(0, 400))
def test_a_run_is_the_sum_of_its_steps(line: Line, context: int, requests: int, steps: int) -> None:
    assert line.run_s(context, requests, steps) == pytest.approx(ends_s(line, context, requests, steps)[-1], rel=1e-9)


@deterministic
@given(
    line=lines,
    context=st.integers(1, 200_000),
    requests=st.integers(1, 512),
    whole=st.integers(0, 300),
    part=st.floats(0.001, 0.999),
)
def test_steps_within_a_time(line: Line, context: int, requests: int, whole: int, part: float) -> None:
    ends = ends_s(line, context, requests, whole + 1)
    seconds = ends[whole] + part * (ends[whole + 1] - ends[whole])
    assert line.steps_within(context, requests, seconds) == whole
    # At the very end of a run all of its steps count.
    assert line.steps_within(context, requests, line.run_s(context, requests, whole)) == whole


def test_a_step_at_the_floor_does_not_see_the_context() -> None:
    line = Line(floor_s=0.01, base_s=0.004, per_context_token_s=1e-6)
    assert line.step_s(6000) == line.step_s(10) == 0.01
    assert line.step_s(7000) == pytest.approx(0.011)
    assert line.run_s(5900, 100, 3) == pytest.approx(0.01 + 0.01 + 0.0101)
    assert line.steps_within(5900, 100, 0.02) == 2
    assert line.steps_within(5900, 100, 0.0099) == 0
