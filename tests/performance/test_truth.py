"""What the truth adds to a latency model, and that its shortcuts agree with it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.performance.batch import Batch
from orchestrator.performance.contention import Contention
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.base import FULL, LatencyModel, Point
from orchestrator.performance.latency.dispatch import Graphs
from orchestrator.performance.latency.linear import Linear
from orchestrator.performance.latency.roofline import Roofline
from orchestrator.performance.latency.row import one
from orchestrator.performance.model import ModelShape
from orchestrator.performance.truth import CAPTURED_SIZES, Truth
from tests.performance.devices import A100, DUET_H200, H100, L20, MODEL_8B, MODEL_34B, QWEN2_3B, QWEN3_8B, with_dispatch
from tests.performance.test_roofline import batches, points, rooflines, row

CAPTURED = Graphs(CAPTURED_SIZES)
deterministic = settings(derandomize=True, deadline=None, max_examples=100)
truths = st.builds(
    lambda model, sizes, penalty: Truth(model, captured=sizes, mixed_penalty=penalty),
    st.one_of(rooflines, st.just(Linear(0.012, 0.43e-6, 1e-5, 1e-4))),
    st.sampled_from([(), CAPTURED_SIZES, (3, 500)]),
    st.sampled_from([1.0, 1.7]),
)


@deterministic
@given(truth=truths, requests=st.integers(1, 700), mean=st.floats(1, 100_000), point=points)
def test_a_line_is_the_decode_step(truth: Truth, requests: int, mean: float, point: Point) -> None:
    tokens = min(requests * mean, max(4e6, requests))
    batch = Batch(decode_requests=requests, decode_context_tokens=tokens)
    line = truth.decode_line(requests, point)
    assert line.step_s(tokens) == pytest.approx(float(truth.iteration_s(batch, point)), rel=1e-6)
    assert truth.decode_line(requests, point) is line


@deterministic
@given(truth=truths, batch=batches, point=points)
def test_one_row_in_floats_is_the_same(truth: Truth, batch: Batch, point: Point) -> None:
    assert truth.one_s(row(batch), point) == pytest.approx(float(truth.iteration_s(batch, point)), rel=1e-12)


def test_a_model_without_floats_is_evaluated_as_a_row() -> None:
    class Arrays:
        def iteration_s(self, batch: Batch, point: Point = FULL) -> np.ndarray:
            return Linear(0.01, 1e-6).iteration_s(batch, point)

    model: LatencyModel = Arrays()
    truth = Truth(model, captured=(4,))
    assert truth.one_s(one(decode_requests=3, decode_context_tokens=1000)) == pytest.approx(0.011)
    assert truth.decode_line(3).run_s(1000, 3, 2) == pytest.approx(0.011 + 0.011003)


def test_decode_is_padded_to_the_next_captured_size() -> None:
    model = Roofline(A100, MODEL_8B)
    truth, asked = Truth(model, captured=(8, 16)), np.array([0.0, 1, 8, 9, 16, 17])
    padded = np.array([0.0, 8, 8, 16, 16, 17])
    got = truth.iteration_s(Batch(decode_requests=asked, decode_context_tokens=5000.0))
    # The padding reads no KV: the context is what the real requests hold.
    np.testing.assert_allclose(got, model.iteration_s(Batch(decode_requests=padded, decode_context_tokens=5000.0)))
    prompt = Batch.prefill(1, 100)
    mixed = Batch(prompt.prefill_tokens, prompt.prefill_pairs, prompt.prefill_context_tokens, 1, 9, 5000)
    assert truth.iteration_s(mixed) == model.iteration_s(mixed)


def test_step_times_are_a_staircase_in_the_batch() -> None:
    device = with_dispatch(dataclasses.replace(A100, memory_bytes_per_s=1e14), operator_s=0.0)
    truth = Truth(Roofline(device, MODEL_8B), captured=CAPTURED_SIZES)
    steps = truth.iteration_s(Batch(decode_requests=np.arange(120.0, 137), decode_context_tokens=1e5))
    assert np.flatnonzero(np.diff(steps)).tolist() == [0, 8]  # 120|121 … 128|129 … 136


def test_only_mixed_iterations_pay_the_penalty() -> None:
    model = Roofline(H100, MODEL_8B)
    truth = Truth(model, mixed_penalty=1.7)
    fields = [row(Batch.prefill(2, 500)), row(Batch.decode(16, 1000))]
    mixed = Batch(*np.add(*fields))
    for batch, factor in ((Batch(*fields[0]), 1.0), (Batch(*fields[1]), 1.0), (mixed, 1.7)):
        assert truth.iteration_s(batch) == pytest.approx(factor * float(model.iteration_s(batch)))


@pytest.mark.parametrize("steps", [1, 25])
def test_noise_keeps_the_mean_and_averages_out_over_steps(steps: int) -> None:
    truth = Truth(Linear(0.01, 1e-6), noise=0.2)
    drawn = [truth.noisy(3.0, z, steps) for z in np.random.default_rng(7).standard_normal(40_000)]
    assert np.mean(drawn) == pytest.approx(3.0, rel=5 * 0.2 / math.sqrt(steps * 40_000))
    assert np.std(drawn) / 3.0 == pytest.approx(0.2 / math.sqrt(steps), rel=0.05)
    assert Truth(Linear(0.01, 1e-6)).noisy(3.0, 2.5) == 3.0


co_runs = st.tuples(
    st.integers(64, 8192), st.integers(0, 30_000), st.integers(1, 256), st.integers(1, 20_000), st.floats(0.1, 0.9)
)


@deterministic
@given(run=co_runs, device=st.sampled_from([H100, A100, L20]), repeated=st.sampled_from([0.0, 0.5, 2.0]))
def test_decode_is_never_faster_beside_a_prefill(
    run: tuple[int, int, int, int, float], device: Hardware, repeated: float
) -> None:
    chunk, cached, requests, context, share = run
    truth = Truth(Roofline(device, MODEL_8B, graphs=CAPTURED), contention=Contention(repeated_reads=repeated))
    prefill, decode = Batch.prefill(1, chunk, cached), Batch.decode(requests, context)
    prefill_s, decode_s = truth.co_run_s(prefill, decode, share)
    assert prefill_s == truth.iteration_s(prefill, Point(share))
    alone_s = truth.iteration_s(decode, Point(1 - share))
    assert decode_s >= alone_s
    # At least 0.3 of the bandwidth remains.
    assert decode_s <= alone_s / 0.3
    assert truth.co_run_s(Batch(), decode, share)[1] == alone_s


@pytest.mark.parametrize(("device", "model"), [(L20, QWEN2_3B), (DUET_H200, QWEN3_8B), (A100, MODEL_34B)])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_decode_slows_as_the_prefill_beside_it_reads_more_kv(device: Hardware, model: ModelShape, share: float) -> None:
    truth = Truth(Roofline(device, model, graphs=CAPTURED), contention=Contention())
    _, decode_s = truth.co_run_s(Batch.prefill(1, 2048, np.arange(0.0, 32_000, 1000)), Batch.decode(32, 4000), share)
    assert (np.diff(decode_s) >= 0).all()


def test_contention_reaches_what_nexus_measured() -> None:
    # N6: the cached prompt grows from 2000 to 10000 tokens and decode slows by 36 %, with the coefficient fitted to it.
    truth = Truth(Roofline(L20, QWEN2_3B, graphs=CAPTURED), contention=Contention(repeated_reads=2.0))
    _, decode_s = truth.co_run_s(Batch.prefill(1, 2048, np.array([2000.0, 10_000])), Batch.decode(32, 4000), 0.5)
    assert decode_s[1] / decode_s[0] == pytest.approx(1.36, abs=0.02)


def test_without_contention_phases_only_share_the_sms() -> None:
    prefill, decode, share = Batch.prefill(1, 2048, 4000), Batch.decode(32, 4000), np.array([0.25, 0.75])
    for truth in (Truth(Roofline(H100, MODEL_8B)), Truth(Linear(0.01, 1e-6), contention=Contention())):
        prefill_s, decode_s = truth.co_run_s(prefill, decode, share)
        np.testing.assert_array_equal(prefill_s, truth.iteration_s(prefill, Point(share)))
        np.testing.assert_array_equal(decode_s, truth.iteration_s(decode, Point(1 - share)))
