"""The linear model against the fluid figures of WAIT."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.performance.batch import Batch
from orchestrator.performance.latency.base import Point
from orchestrator.performance.latency.linear import Linear
from orchestrator.performance.latency.row import Row

numbers = st.floats(0, 1e6)


def test_iteration_is_base_and_slope_over_all_kv_tokens() -> None:
    linear = Linear(0.012, 0.43e-6)
    assert linear.iteration_s(Batch.decode(8, 100)) == pytest.approx(0.012 + 0.43e-6 * 800)
    # A prompt at stage 0 counts with all its tokens.
    assert linear.iteration_s(Batch.prefill(2, 64)) == pytest.approx(0.012 + 0.43e-6 * 128)
    assert linear.iteration_s(Batch()) == 0


def test_backend_b_adds_prompt_tokens_and_requests() -> None:
    linear = Linear(0.01, 1e-7, per_prefill_token_s=1e-5, per_request_s=1e-4)
    prompt = Batch.prefill(1, 100)
    both = Batch(prompt.prefill_tokens, prompt.prefill_pairs, prompt.prefill_context_tokens, 1, 3, 600)
    assert linear.iteration_s(both) == pytest.approx(0.01 + 700e-7 + 100e-5 + 4e-4)


def test_throughput_at_the_edge_of_memory_is_that_of_the_fluid_model() -> None:
    # WAIT §9.3: l = 64, l' = 100, C = 137 000: a = 11 514 token-iterations, 167.8 requests per second.
    linear, prompt, output, capacity = Linear(0.012, 0.43e-6), 64, 100, 137_000
    stages = np.arange(output + 1)
    per_request = float((prompt + stages).sum())
    assert per_request == 11_514
    # One request per stage and n of each: as many tokens as fit, n finish per iteration.
    n = capacity / per_request
    prefill, decode = Batch.prefill(n, prompt), n * (prompt + stages[1:]).sum()
    batch = Batch(prefill.prefill_tokens, prefill.prefill_pairs, prefill.prefill_context_tokens, n, n * output, decode)
    assert n / float(linear.iteration_s(batch)) == pytest.approx(167.8, abs=0.05)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(row=st.tuples(*[numbers] * 6), share=st.floats(0.1, 1))
def test_one_row_in_floats_is_the_same(row: tuple[float, ...], share: float) -> None:
    linear, point = Linear(0.01, 1e-7, 1e-5, 1e-4), Point(share, np.array([1.0, 0.5]))
    got = linear.iteration_s(Batch(*row), point)
    assert got.shape == (2,)
    np.testing.assert_allclose(got, linear.one_s(Row(*row), point), rtol=1e-12)
