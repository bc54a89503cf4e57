"""How long the next iteration of a simulated worker takes, and how many decode steps it can run at once."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.performance.latency.base import Point
from orchestrator.performance.latency.row import Row
from orchestrator.simulator.clocks import Clocks
from orchestrator.simulator.decoding import Decoding
from orchestrator.simulator.device import Device
from orchestrator.simulator.iteration import Iteration
from orchestrator.simulator.owner import EnginePolicies
from orchestrator.simulator.prompts import Chunks


class Pace:
    """Asks the truth of the device, at the clock that the frequency policy chose. `normal` draws the noise of an iteration."""

    def __init__(self, device: Device, clocks: Clocks, normal: Callable[[], float]) -> None:
        self._device = device
        self._clocks = clocks
        self._normal = normal

    def iteration(self, policies: EnginePolicies, decoding: Decoding, chunks: Chunks, now_s: float) -> Iteration:
        """One iteration of the batch and `chunks`; without chunks, decode steps as long as nothing can change."""
        requests, context = len(decoding.jobs), decoding.context_tokens
        mhz, settled = self._clocks.choose(policies.frequency, requests, sum(count for _, count in chunks), now_s)
        point, truth = self._device.point(mhz), self._device.truth
        if chunks:
            seconds, line, steps = self._mixed_s(chunks, requests, context, point), None, 1
        else:
            line = truth.decode_line(requests, point)
            steps = self._steps(policies, decoding, settled)
            seconds = line.run_s(context, requests, steps)
        factor = truth.noisy(1.0, self._normal(), steps) if truth.noise else 1.0
        return Iteration(now_s, now_s + factor * seconds, steps, requests, context, line, factor, mhz, chunks)

    def _steps(self, policies: EnginePolicies, decoding: Decoding, settled: int) -> int:
        """Decode steps until a request ends, blocks run out, or a policy wants to be asked again."""
        steps = min(decoding.steps_to_end(), settled)
        plan = policies.multiplexing.plan(len(decoding.jobs), 0)
        if plan.valid_steps:
            steps = min(steps, plan.valid_steps)
        return decoding.steps_that_fit(steps)

    def _mixed_s(self, chunks: Chunks, requests: int, context_tokens: int, point: Point) -> float:
        tokens = prefill_context = 0
        pairs = 0.0
        for job, count in chunks:
            tokens += count
            pairs += count * (job.computed + (count + 1) / 2)
            prefill_context += job.computed + count
        row = Row(tokens, pairs, prefill_context, len(chunks), requests, context_tokens)
        return self._device.truth.one_s(row, point)
