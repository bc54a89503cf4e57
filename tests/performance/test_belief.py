"""What is fitted to noisy profiles: how close it comes, and that it stays an honest predictor."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.performance.batch import Batch
from orchestrator.performance.belief import Belief, Kind
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.latency.dispatch import Graphs
from orchestrator.performance.latency.roofline import Roofline
from orchestrator.performance.latency.row import Row, one
from orchestrator.performance.model import ModelShape
from orchestrator.performance.nnls import nnls
from orchestrator.performance.profile import Range, Samples, profile
from orchestrator.performance.truth import CAPTURED_SIZES, Truth
from tests.performance.devices import A100, DUET_H200, L20, MODEL_8B, QWEN2_3B, QWEN3_8B
from tests.performance.test_roofline import batches, row

NOISE = 0.02
GRID = [Point(share, clock) for share in (0.25, 0.5, 1.0) for clock in (0.5, 0.75, 1.0)]


def truth_of(device: Hardware, model: ModelShape, noise: float = NOISE) -> Truth:
    roofline = Roofline(device, model, graphs=Graphs(CAPTURED_SIZES))
    return Truth(roofline, captured=CAPTURED_SIZES, mixed_penalty=1.2, noise=noise)


def samples(truth: Truth, seed: int, points: list[Point] | None = None, rows: int = 300) -> Samples:
    return profile(truth, np.random.default_rng(seed), points or [FULL], rows)


@pytest.mark.parametrize(("device", "model"), [(A100, MODEL_8B), (DUET_H200, QWEN3_8B), (L20, QWEN2_3B)])
def test_held_out_iterations_are_predicted(device: Hardware, model: ModelShape) -> None:
    # VoltanaLLM §10.1 asks for 5 % of decode and 8 % of prefill on average.
    truth = truth_of(device, model)
    errors = Belief.fit(samples(truth, 1)).relative_error(samples(truth, 2))
    assert errors[Kind.DECODE].median <= 0.05 and errors[Kind.DECODE].p95 <= 0.12
    assert errors[Kind.PREFILL].median <= 0.08 and errors[Kind.PREFILL].p95 <= 0.12
    assert errors[Kind.MIXED].median <= 0.08
    # The noise itself cannot be predicted.
    assert errors[Kind.DECODE].median >= 0.5 * NOISE


def test_a_belief_is_not_the_truth() -> None:
    truth = truth_of(A100, MODEL_8B, noise=0.0)
    measured = samples(truth, 1)
    belief = Belief.fit(measured)
    off = np.abs(belief.iteration_s(measured.batch, measured.point) / truth.iteration_s(measured.batch) - 1)
    assert 1e-4 < np.median(off) < 0.05
    # It does not know the padding: 9 requests cost as much as 16, which it rounds off.
    steps = Batch(decode_requests=np.arange(9.0, 17), decode_context_tokens=16_000.0)
    assert np.ptp(truth.iteration_s(steps)) == 0 < np.ptp(belief.iteration_s(steps))


def test_the_same_seed_gives_the_same_belief() -> None:
    truth = truth_of(A100, MODEL_8B)
    np.testing.assert_array_equal(*(Belief.fit(samples(truth, 5)).coefficients for _ in range(2)))
    assert (Belief.fit(samples(truth, 6)).coefficients != Belief.fit(samples(truth, 5)).coefficients).any()


@pytest.fixture(scope="module")
def grid() -> Belief:
    return Belief.fit(samples(truth_of(A100, MODEL_8B), 3, GRID))


def test_between_profiled_points_it_interpolates(grid: Belief) -> None:
    held_out = samples(truth_of(A100, MODEL_8B), 4, [Point(0.35, 0.6), Point(0.8, 0.9)])
    errors = grid.relative_error(held_out)
    assert errors[Kind.PREFILL].median <= 0.08 and errors[Kind.DECODE].median <= 0.08
    batch = Batch.prefill(1, 4096)
    at = [float(grid.iteration_s(batch, Point(share))) for share in (0.1, 0.25, 0.4, 0.5, 1.0)]
    assert at[0] == at[1] > at[2] > at[3] > at[4]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(batch=batches, more=batches, share=st.floats(0.1, 1), clock=st.floats(0.3, 1))
def test_predictions_grow_with_the_batch(grid: Belief, batch: Batch, more: Batch, share: float, clock: float) -> None:
    point = Point(share, clock)
    seconds = grid.one_s(row(batch), point)
    assert seconds == pytest.approx(float(grid.iteration_s(batch, point)), rel=1e-9)
    for phase in (slice(0, 4), slice(4, 6)):
        fewer, added = np.zeros(6), np.zeros(6)
        fewer[phase], added[phase] = row(batch)[phase], row(more)[phase]
        assert grid.one_s(Row(*(fewer + added)), point) >= grid.one_s(Row(*fewer), point) * (1 - 1e-12)


def test_rows_and_points_broadcast(grid: Belief) -> None:
    decode = Batch.decode(np.array([0.0, 1, 8]), 1000)
    point = Point(np.array([[0.3], [0.9]]), 0.8)
    got = grid.iteration_s(decode, point)
    assert got.shape == (2, 3)
    assert (got[:, 0] == 0).all()
    assert got[1, 2] == pytest.approx(grid.one_s(one(decode_requests=8, decode_context_tokens=8000), Point(0.9, 0.8)))


def test_a_kind_that_was_never_measured_is_unknown() -> None:
    measured = samples(truth_of(A100, MODEL_8B), 1)
    decodes = np.asarray(measured.batch.prefill_tokens) == 0
    kept = Batch(*(column[decodes] for column in (np.asarray(getattr(measured.batch, n)) for n in Batch.__slots__)))
    at = Point(np.ones(decodes.sum()), np.ones(decodes.sum()))
    belief = Belief.fit(Samples(kept, at, measured.seconds[decodes]))
    assert np.isnan(belief.iteration_s(Batch.prefill(1, 100)))
    assert belief.iteration_s(Batch.decode(4, 100)) > 0


def test_points_must_form_a_grid() -> None:
    measured = samples(truth_of(A100, MODEL_8B), 1, [Point(0.5, 1.0), Point(1.0, 0.5)])
    with pytest.raises(ValueError, match=r"no samples at share 0\.5 and clock 0\.5; profile the whole grid"):
        Belief.fit(measured)


def test_profiles_stay_within_their_range() -> None:
    within = Range(prefill_tokens=1000, prefill_requests=2, decode_requests=32, context_tokens=500)
    measured = profile(truth_of(A100, MODEL_8B), np.random.default_rng(1), rows=200, within=within).batch
    assert np.max(measured.prefill_tokens) <= 1000 and np.max(measured.prefill_requests) == 2
    assert np.max(measured.decode_requests) == 32
    assert np.max(np.asarray(measured.decode_context_tokens) / np.maximum(measured.decode_requests, 1)) <= 500


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), columns=st.integers(1, 5), twice=st.booleans())
def test_non_negative_least_squares_finds_the_best_subset(seed: int, columns: int, twice: bool) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(12, columns)) * 10.0 ** generator.integers(-4, 5, columns)
    matrix = np.column_stack([matrix, matrix[:, 0], np.zeros(12)]) if twice else matrix
    target = generator.normal(size=12)
    x = nnls(matrix, target)
    assert (x >= 0).all()
    residuals = [np.linalg.norm(target)]
    for count in range(1, columns + 1):
        for chosen in itertools.combinations(range(columns), count):
            best = np.linalg.lstsq(matrix[:, chosen], target, rcond=None)[0]
            if (best >= 0).all():
                residuals.append(np.linalg.norm(target - matrix[:, chosen] @ best))
    assert np.linalg.norm(target - matrix @ x) == pytest.approx(min(residuals), rel=1e-9)
