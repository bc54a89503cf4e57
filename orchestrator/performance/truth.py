"""How long a simulated worker really takes: a latency model with what planners do not see.

Padding to captured batch sizes, a penalty for batches of both phases, contention between co-running phases, noise.
Source: Nexus §10, VoltanaLLM §3.1, DuetServe §9.
"""

from __future__ import annotations

import bisect
import math

import numpy as np

from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.contention import Contention, SharesMemory
from orchestrator.performance.latency.base import FULL, LatencyModel, Point, ScalarModel
from orchestrator.performance.latency.row import Row, one
from orchestrator.performance.line import Line

__all__ = ["CAPTURED_SIZES", "Line", "Truth"]

CAPTURED_SIZES = (1, 2, 4, *range(8, 129, 8), *range(160, 257, 32), *range(320, 513, 64))
"""Batch sizes of which an engine captures decode graphs. Source: VoltanaLLM §3.1, which quotes them up to 320."""

_FAR_TOKENS = 1e9


class Truth:
    """`captured`: decode batches are padded to the next of these sizes, larger ones are not. The padding costs as much as real
    requests without context. `mixed_penalty`: factor on iterations that hold both phases. `contention`: None means none.
    `noise`: relative standard deviation of an iteration's time, which `noisy` applies.
    """

    def __init__(
        self,
        model: LatencyModel,
        *,
        captured: tuple[int, ...] = (),
        mixed_penalty: float = 1.0,
        contention: Contention | None = None,
        noise: float = 0.0,
    ) -> None:
        self.model = model
        self.mixed_penalty = mixed_penalty
        self.contention = contention
        self.noise = noise
        self._sizes = sorted(captured)
        self._size_array = np.array([*self._sizes, np.inf])
        self._lines: dict[tuple[int, Array | float, Array | float], Line] = {}
        self._one_s = model.one_s if isinstance(model, ScalarModel) else self._one_row_s

    def iteration_s(self, batch: Batch, point: Point = FULL) -> Array:
        """Seconds per row of `batch`, without noise."""
        seconds = self.model.iteration_s(self._padded(batch), point)
        mixed = (np.asarray(batch.prefill_tokens) > 0) & (np.asarray(batch.decode_requests) > 0)
        return np.where(mixed, seconds * self.mixed_penalty, seconds)

    def one_s(self, row: Row[float], point: Point = FULL) -> float:
        """`iteration_s` of one row, in plain floats where the model can."""
        padded = row if row.prefill_tokens else row._replace(decode_requests=self._pad(row.decode_requests))
        seconds = self._one_s(padded, point)
        return seconds * self.mixed_penalty if row.prefill_tokens > 0 and row.decode_requests > 0 else seconds

    def decode_line(self, requests: int, point: Point = FULL) -> Line:
        """Steps of `requests` that decode, as a function of their context tokens; requests >= 1.

        Exact where the model's decode time is max(floor, base + slope·context), as that of a roofline, a linear model and a
        memory-centric device. A tiled accelerator's rounds its work up; there the line is up to 0.05 % off.
        """
        key = (requests, point.sm_share, point.clock)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = self._line(requests, point)
        return line

    def co_run_s(
        self, prefill: Batch, decode: Batch, prefill_share: Array | float, clock: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """Seconds of one prefill iteration on `prefill_share` of the SMs and of one decode step on the rest beside it."""
        share = np.asarray(prefill_share, np.float64)
        rest = Point(1 - share, clock)
        prefill_s = self.model.iteration_s(prefill, Point(share, clock))
        padded = self._padded(decode)
        if self.contention is None or not isinstance(self.model, SharesMemory):
            return prefill_s, self.model.iteration_s(padded, rest)
        left = self.contention.left(self.model, prefill, prefill_s)
        return prefill_s, self.model.iteration_s(padded, rest, left)

    def noisy(self, seconds: float, normal: float, steps: int = 1) -> float:
        """`seconds` of `steps` steps times a log-normal factor of mean 1; `normal` is a standard normal draw."""
        variance = math.log1p(self.noise * self.noise / max(steps, 1))
        return seconds * math.exp(math.sqrt(variance) * normal - variance / 2)

    def noisy_rows(self, seconds: Array, normal: Array) -> Array:
        """`noisy` for iterations, each with its own draw; shapes broadcast."""
        variance = math.log1p(self.noise * self.noise)
        return np.asarray(seconds * np.exp(math.sqrt(variance) * normal - variance / 2))

    def _one_row_s(self, row: Row[float], point: Point) -> float:
        return float(self.model.iteration_s(Batch(*row), point))

    def _line(self, requests: int, point: Point) -> Line:
        def step_s(context_tokens: float) -> float:
            return self.one_s(one(decode_requests=requests, decode_context_tokens=context_tokens), point)

        far_s = step_s(_FAR_TOKENS)
        slope = (step_s(2 * _FAR_TOKENS) - far_s) / _FAR_TOKENS
        base = far_s - slope * _FAR_TOKENS
        least = step_s(requests)
        return Line(least if least > base + slope * requests else 0.0, base, slope)

    def _pad(self, requests: float) -> float:
        index = bisect.bisect_left(self._sizes, requests)
        return self._sizes[index] if requests > 0 and index < len(self._sizes) else requests

    def _padded(self, batch: Batch) -> Batch:
        if not self._sizes:
            return batch
        requests, tokens = np.asarray(batch.decode_requests, np.float64), np.asarray(batch.prefill_tokens, np.float64)
        size = self._size_array[np.searchsorted(self._sizes, requests)]
        pads = (tokens == 0) & (requests > 0) & np.isfinite(size)
        return Batch(
            batch.prefill_tokens,
            batch.prefill_pairs,
            batch.prefill_context_tokens,
            batch.prefill_requests,
            np.where(pads, size, requests),
            batch.decode_context_tokens,
        )
