"""What is measured at one worker, and what it tells routers of itself at its heartbeats."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.routing.router import Report
from orchestrator.routing.tempo import SAMPLE_S, STALE_S
from orchestrator.simulator.device import Device
from orchestrator.simulator.iteration import Iteration
from orchestrator.simulator.job import Job
from orchestrator.simulator.samples import Samples
from orchestrator.simulator.steplog import StepLog

if TYPE_CHECKING:
    from orchestrator.simulator.worker import Worker


UNTOLD = 128
"""As many untold heartbeats are kept."""


class Meter:
    """Sums over the life of a worker. `status` is its load at its last heartbeat, at `status_s`; heartbeats come every `heartbeat_s`.
    `told` says whether the front door has taken it in, `due_s` is the time of the next one, and `earlier` has what was not told before:
    as much as tells a pace.

    A heartbeat costs no event: before a worker changes, `observe` keeps what it looked like at the last one.
    """

    def __init__(self, device: Device, heartbeat_s: float, phase_s: float, *, spans: bool) -> None:
        self.steps = StepLog()
        self.samples = Samples()
        self.spans: list[tuple[float, float, int, int, int]] | None = [] if spans else None
        self.requests = self.preemptions = self.first_tokens = 0
        self.prefill_tokens = self.decode_tokens = self.decode_steps = 0
        self.busy_s = self.busy_j = 0.0
        self.due_s = phase_s
        self.status = Report(0, 0, 0, 0, 0, 0, 0, 0.0)
        self.died_s: float | None = None
        self.drained = False
        self.status_s = 0.0
        self.told = True
        self.earlier: deque[tuple[float, Report]] = deque(maxlen=UNTOLD)
        self._device = device
        self._heartbeat_s = heartbeat_s
        self._phase_s = phase_s
        self._apart_s = heartbeat_s * math.ceil(SAMPLE_S / heartbeat_s) if heartbeat_s else math.inf
        # True when `status` is that of an idle worker, and nothing has run since.
        self._rested = False
        self._waited: dict[Job, float] = {}
        self._step_s = 0.0

    def observe(self, worker: Worker, now_s: float) -> None:
        """To be called before the worker changes, and by whoever wants its `status`, where `now_s` is past `due_s`."""
        if not self.told:
            self.earlier.append((self.status_s, self.status))
        self.told = False
        if not self._heartbeat_s:
            self.status, self.status_s = self._status(worker, now_s), now_s
            return
        at_s = self._phase_s + math.floor((now_s - self._phase_s) / self._heartbeat_s) * self._heartbeat_s
        first_s, self.due_s, self.status_s = self.due_s, at_s + self._heartbeat_s, at_s
        if not (self._rested and worker.is_idle):
            if at_s - first_s >= self._apart_s:
                # Nothing has changed but what a run of steps made of it.
                self.earlier.extend((beat_s, self._status(worker, beat_s)) for beat_s in self._beats(first_s, at_s))
            self.status = self._status(worker, at_s)
            self._rested = worker.is_idle

    def _beats(self, first_s: float, last_s: float) -> Iterator[float]:
        """Heartbeats before the last one that are far enough apart to tell a pace, and not too old for it."""
        count = math.floor(min(last_s - first_s, STALE_S) / self._apart_s)
        return (last_s - self._apart_s * back for back in range(count, 0, -1))

    def boot(self, worker: Worker, now_s: float) -> None:
        """The first report of a worker, which does not wait for a heartbeat."""
        self.status, self.status_s = self._status(worker, now_s), now_s

    def _status(self, worker: Worker, at_s: float) -> Report:
        done, it = worker.progress(at_s)
        context, used = worker.decoding.context_tokens, worker.kv.used_blocks
        generated = self.first_tokens + worker.decoding.generated_tokens
        if done and it is not None:
            context += done * it.requests
            generated += done * it.requests
            used += worker.decoding.growth(done)
        return Report(
            worker.running,
            len(worker.prompts.waiting) + len(worker.ready),
            worker.prompts.tokens(),
            context,
            used,
            worker.kv.total_blocks,
            worker.kv.block_tokens,
            self._step_s,
            generated,
        )

    def joined(self, job: Job, now_s: float) -> None:
        """A request began to decode here."""
        self._waited[job] = now_s - job.last_token_s

    def stayed(self, job: Job, first: int, last: int) -> None:
        """A request took part in steps [first, last)."""
        self.steps.stay(job.view.tier, first, last, self._waited.pop(job, 0.0))
        self.decode_tokens += last - first

    def ended(self, it: Iteration) -> None:
        """An iteration ran to its end."""
        self._ran(it, it.steps, it.end_s)
        for _, tokens in it.chunks:
            self.prefill_tokens += tokens

    def interrupted(self, it: Iteration, steps: int, now_s: float) -> None:
        """The worker died after `steps` steps of a run."""
        self._ran(it, steps, now_s)

    def _ran(self, it: Iteration, steps: int, end_s: float) -> None:
        seconds, self._rested = end_s - it.start_s, False
        self.busy_s += seconds
        self.busy_j += seconds * self._device.power_w(it.clock_mhz, bool(it.chunks), it.requests)
        if it.requests and steps:
            self.decode_steps += steps
            self._step_s = seconds / steps
            if it.line is not None:
                self.steps.run(steps, it.line, it.context_tokens, it.requests, it.factor)
            else:
                self.steps.single(seconds)
        if self.spans is not None:
            self.spans.append((it.start_s, seconds, it.requests, steps, sum(tokens for _, tokens in it.chunks)))

    def sample(self, worker: Worker, now_s: float) -> None:
        """Note queue, batch and KV for the plots, where `samples` are due."""
        self.samples.add(*self.state(worker, now_s))

    @staticmethod
    def state(worker: Worker, now_s: float) -> tuple[float, int, int, float]:
        """Time, requests that wait, requests that run, and the used share of the KV pool."""
        return now_s, len(worker.prompts.waiting), worker.running, worker.kv.used_blocks / worker.kv.total_blocks

    def energy_j(self, alive_s: float) -> float:
        """Of a worker that lived that long: what it ran, and idling in between."""
        return self.busy_j + max(0.0, alive_s - self.busy_s) * self._device.idle_w
