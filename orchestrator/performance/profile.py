"""Profiles: what a planner measures of a worker before it plans."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.latency.base import FULL, Point
from orchestrator.performance.truth import Truth


@dataclass(frozen=True, slots=True)
class Samples:
    """Measured iterations: all arrays of the batch, of the point and `seconds` have shape (n,)."""

    batch: Batch
    point: Point
    seconds: Array


@dataclass(frozen=True, slots=True)
class Range:
    """What is profiled: batches up to these sizes, lengths and counts spread evenly over their logarithms.

    `prefill_tokens` bounds the prompt tokens of an iteration, `context_tokens` what a request has cached or decodes with.
    """

    prefill_tokens: int = 8192
    prefill_requests: int = 4
    decode_requests: int = 256
    context_tokens: int = 8192


def profile(
    truth: Truth,
    generator: np.random.Generator,
    points: Sequence[Point] = (FULL,),
    rows: int = 300,
    within: Range | None = None,
) -> Samples:
    """At each of `points` (scalars) `rows` prefill, `rows` decode and `rows` mixed iterations, with the truth's noise.

    Source: VoltanaLLM §3.1, which profiles each clock on its own.
    """
    within = within or Range()
    parts = []
    for point, prefills, decodes in itertools.product(points, (True, False), (True, False)):
        if not (prefills or decodes):
            continue
        none = np.zeros(rows)
        requests = _between(generator, within.prefill_requests, rows) if prefills else none
        tokens = np.maximum(np.floor(_between(generator, within.prefill_tokens, rows) / np.maximum(requests, 1)), 1)
        cached = _between(generator, within.context_tokens, rows) * generator.integers(0, 2, rows)
        prompt = Batch.prefill(requests, tokens, cached)
        decoding = _between(generator, within.decode_requests, rows) if decodes else none
        context = _between(generator, within.context_tokens, rows)
        batch = Batch(
            prompt.prefill_tokens,
            prompt.prefill_pairs,
            prompt.prefill_context_tokens,
            requests,
            decoding,
            decoding * context,
        )
        seconds = truth.noisy_rows(truth.iteration_s(batch, point), generator.standard_normal(rows))
        parts.append(np.stack([*fields(batch), none + point.sm_share, none + point.clock, seconds]))
    *columns, shares, clocks, seconds = np.concatenate(parts, axis=1)
    return Samples(Batch(*columns), Point(shares, clocks), seconds)


def fields(batch: Batch) -> tuple[Array, ...]:
    """The batch's columns in order, as arrays."""
    columns = (
        batch.prefill_tokens,
        batch.prefill_pairs,
        batch.prefill_context_tokens,
        batch.prefill_requests,
        batch.decode_requests,
        batch.decode_context_tokens,
    )
    return tuple(np.asarray(column, np.float64) for column in columns)


def _between(generator: np.random.Generator, most: int, rows: int) -> Array:
    """Whole numbers from 1 to `most`, evenly over their logarithms."""
    return np.asarray(np.minimum(np.floor(np.exp(generator.uniform(0, np.log(most + 1), rows))), most))
