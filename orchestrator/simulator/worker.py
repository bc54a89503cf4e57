"""A simulated worker: continuous batching with chunked prefill, in iterations and in runs of decode steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Protocol

from orchestrator.core.request import RequestView
from orchestrator.performance.latency.base import Point
from orchestrator.performance.latency.row import Row
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.policies.frequency.base import FrequencyPolicy
from orchestrator.policies.multiplexing.base import MultiplexingPolicy
from orchestrator.simulator.clocks import Clocks
from orchestrator.simulator.decoding import Decoding
from orchestrator.simulator.device import Device
from orchestrator.simulator.iteration import Iteration
from orchestrator.simulator.job import Job
from orchestrator.simulator.kv import Holding, KvPool
from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.meter import Meter

ADMISSION_WINDOW = 8
"""As many waiting requests as an engine shows its admission policy at once."""


class Owner(Protocol):
    """Who hears from a worker."""

    def prefilled(self, job: Job, worker: Worker, now_s: float) -> Events:
        """The next token of `job` is out and its KV complete; it waits in `worker.leases` unless the owner says otherwise."""

    def finished(self, job: Job, worker: Worker, now_s: float) -> Events:
        """Its last token is out and its blocks are free."""

    def preempted(self, job: Job, now_s: float) -> Events:
        """It gave up its blocks and waits where it was."""

    def cache_changed(self, worker: Worker, stored: list[int], removed: list[int]) -> None:
        """Prompt blocks that can be reused here, and that cannot any more."""


@dataclass(frozen=True, slots=True)
class EnginePolicies:
    """The policies that an engine asks."""

    admission: AdmissionPolicy
    multiplexing: MultiplexingPolicy
    frequency: FrequencyPolicy


class Worker:
    """`waiting` own no blocks. `ready` own theirs (a context that was pulled) and lack a row of the batch. `prefilling` and `decoding`
    have both. `leases` wait to be pulled, `reservations` for a context to come. When blocks run out the youngest request gives up its own
    and recomputes later, keeping its place by age.

    `normal` draws the noise of an iteration.
    """

    def __init__(
        self,
        name: str,
        device: Device,
        policies: EnginePolicies,
        owner: Owner,
        meter: Meter,
        clocks: Clocks,
        *,
        block_tokens: int,
        prefix_cache: bool,
        normal: Callable[[], float],
    ) -> None:
        self.name = name
        self.device = device
        self.policies = policies
        self.meter = meter
        self.clocks = clocks
        self.alive = True
        self.kv = KvPool(device.kv_blocks, block_tokens, prefix_cache)
        self.decoding = Decoding(self.kv)
        self.waiting: deque[Job] = deque()
        self.waiting_tokens = 0
        self.ready: deque[tuple[Job, Holding]] = deque()
        self.prefilling: dict[Job, Holding] = {}
        self.leases: dict[Job, Holding] = {}
        self.reservations: dict[Job, Holding] = {}
        self.departing: dict[Job, Callable[[Holding, float], Events]] = {}
        # Requests that nobody wants any more, and up to which step their tokens still reached somebody.
        self.cancelled: dict[Job, int] = {}
        self._owner = owner
        self._normal = normal
        self._iteration: Iteration | None = None
        self._version = 0
        # True while the batch changes: what happens meanwhile must not start an iteration.
        self._changing = False

    # What others ask for

    def enqueue(self, job: Job, now_s: float) -> Events:
        """Prefill this request, in its turn."""
        self._observe(now_s)
        job.computed = 0
        self.waiting.append(job)
        self.waiting_tokens += job.context_tokens
        return self.wake(now_s)

    def reserve(self, job: Job, tokens: int, now_s: float) -> Events | None:
        """Set blocks aside for a context to come, or more for one that has grown; None where those that came first need them."""
        reserved = self.reservations.get(job, Holding(0))
        blocks = self.kv.blocks_for(tokens) - reserved.private
        if blocks > self.spare_blocks(now_s):
            return None
        self._observe(now_s)
        self.reservations[job] = reserved
        if blocks > 0:
            reserved.private += blocks
            self.kv.take(blocks)
        self._tell()
        it = self._iteration
        if it is None or it.line is None:
            return NOTHING
        # The run was to take what others have just got.
        return self._shorten(it, self.decoding.steps_that_fit(it.steps), now_s)

    def attach(self, job: Job, now_s: float) -> Events:
        """The context has arrived in the reserved blocks: decode."""
        self._observe(now_s)
        self.ready.append((job, self.reservations.pop(job)))
        return self.wake(now_s)

    def release(self, job: Job, now_s: float) -> Events:
        """Give back what is leased or reserved for a request."""
        holding = self.leases.pop(job, None) or self.reservations.pop(job, None)
        if holding is None:
            return NOTHING
        self._observe(now_s)
        self.kv.release(holding)
        if now_s >= self.meter.samples.due_s:
            self.meter.sample(self, now_s)
        return self.wake(now_s)

    def cancel(self, job: Job, now_s: float) -> Events:
        """Forget a request, whatever it does here. One that decodes leaves when its step ends."""
        if job in self.decoding.jobs:
            self.cancelled[job] = self.decoding.step + self.progress(now_s)[0]
            return self.depart(job, self._drop, now_s)
        self._observe(now_s)
        if job in self.waiting:
            self.waiting.remove(job)
            self.waiting_tokens -= job.context_tokens
        if job in self.prefilling:
            # What the present iteration computes for it is lost.
            self.kv.release(self.prefilling.pop(job))
        for entry in [entry for entry in self.ready if entry[0] is job]:
            self.ready.remove(entry)
            self.kv.release(entry[1])
        return self.release(job, now_s) or self.wake(now_s)

    def depart(self, job: Job, then: Callable[[Holding, float], Events], now_s: float) -> Events:
        """Take a decoding request out when its step ends; `then` gets its blocks, which stay held."""
        self.departing[job] = then
        return self.wake(now_s)

    def kill(self, now_s: float) -> list[Job]:
        """Die; returns the requests that were here, by age."""
        self.halt(now_s)
        held = (*self.decoding.jobs, *self.prefilling, *self.leases, *self.reservations)
        jobs = {*held, *self.waiting, *(job for job, _ in self.ready)}
        self.alive = False
        self._version += 1
        self._iteration = None
        self.kv.clear()
        step = self.decoding.step
        self.decoding = Decoding(self.kv)
        self.decoding.step = step
        self.waiting.clear()
        self.waiting_tokens = 0
        self.ready.clear()
        for holdings in (self.prefilling, self.leases, self.reservations):
            holdings.clear()
        self.departing.clear()
        self.cancelled.clear()
        return sorted(jobs, key=lambda job: job.order)

    def halt(self, now_s: float) -> None:
        """Stop in the middle of an iteration: count what has been done. The worker can only be killed, or looked at, after this."""
        self._observe(now_s)
        done, it = self.progress(now_s)
        if it is None:
            return
        # A request whose last token is due at this very moment does not get it.
        done = min(done, it.steps - 1)
        self.decoding.step += done
        ran_s = it.factor * it.line.run_s(it.context_tokens, it.requests, done) if it.line else 0.0
        self.meter.interrupted(it, done, now_s)
        for job in self.decoding.jobs:
            self._settle_tokens(job, it.start_s + ran_s)

    # What others see

    @property
    def running(self) -> int:
        """Requests with a row of the batch."""
        return len(self.decoding.jobs) + len(self.prefilling)

    @property
    def is_idle(self) -> bool:
        """True when nothing runs, waits, or is held for somebody."""
        busy = self.running or self.waiting or self.ready or self.leases or self.reservations
        return not busy and self._iteration is None

    def prefill_tokens(self) -> int:
        """Prompt tokens, and those of contexts to recompute, that are not computed yet."""
        if not self.prefilling:
            return self.waiting_tokens
        return self.waiting_tokens + sum(job.remaining_tokens for job in self.prefilling)

    def spare_blocks(self, now_s: float) -> int:
        """Blocks for a newcomer from elsewhere: those that neither running requests will grow into nor waiting ones came first for."""
        waiting = self.waiting_tokens // self.kv.block_tokens + len(self.waiting)
        return self.kv.free_blocks - self.decoding.growth(self.progress(now_s)[0]) - self.running - waiting

    def progress(self, now_s: float) -> tuple[int, Iteration | None]:
        """Decode steps of the present run that have ended by now, and the run."""
        it = self._iteration
        if it is None or it.line is None or now_s <= it.start_s:
            return 0, it
        return min(it.steps, it.line.steps_within(it.context_tokens, it.requests, (now_s - it.start_s) / it.factor)), it

    # Iterations

    def wake(self, now_s: float) -> Events:
        """Something waits: start if idle, else end a run of steps at the next step."""
        if not self.alive:
            return NOTHING
        self._tell()
        it = self._iteration
        if it is None:
            idle = self._changing or not (self.waiting or self.ready or self.prefilling or self.decoding.jobs)
            return NOTHING if idle else self._start(now_s)
        if it.line is None or it.steps == 1 or not self._may_change():
            return NOTHING
        return self._shorten(it, 1, now_s)

    def _shorten(self, it: Iteration, steps: int, now_s: float) -> Events:
        """End a run after `steps` steps, or at the next one where it is beyond that."""
        steps = max(steps, self.progress(now_s)[0] + 1)
        if it.line is None or steps >= it.steps:
            return NOTHING
        it.steps = steps
        it.end_s = max(now_s, it.start_s + it.factor * it.line.run_s(it.context_tokens, it.requests, it.steps))
        self._version += 1
        return ((it.end_s, partial(self._end, self._version)),)

    def _may_change(self) -> bool:
        return bool(self.departing or ((self.ready or self.waiting) and self.running < self.device.max_batch))

    def _start(self, now_s: float) -> Events:
        """Begin the next iteration, or the next run of decode steps."""
        self._changing = True
        while self.ready and self.running < self.device.max_batch:
            self._join(*self.ready.popleft(), now_s)
        events, preemptions = list[tuple[float, Action]](), self.meter.preemptions
        while self.kv.free_blocks < 0:
            events += self._preempt(now_s)
        # Who preempts must not hand the blocks on to a younger request in the same breath.
        admit = self.meter.preemptions == preemptions
        chunks = self._chunks(admit) if self.prefilling or self.waiting else []
        self._changing = False
        decoding = len(self.decoding.jobs)
        if not chunks and not decoding:
            # Who was preempted may have ended a migration whose request is back, ready, since the batch was made up.
            return [*events, *self._start(now_s)] if self.ready else events
        tokens = sum(count for _, count in chunks)
        mhz, holds = self.clocks.choose(self.policies.frequency, decoding, tokens, now_s)
        point = self.device.point(mhz)
        noise = self.device.truth.noise
        factor = 1.0
        if chunks:
            seconds, line, steps = self._mixed_s(chunks, point), None, 1
            if noise:
                factor = self.device.truth.noisy(1.0, self._normal())
                seconds *= factor
        else:
            line = self.device.truth.decode_line(decoding, point)
            steps = self._steps(decoding, holds)
            seconds = line.run_s(self.decoding.context_tokens, decoding, steps)
            if noise:
                factor = self.device.truth.noisy(1.0, self._normal(), steps)
                seconds *= factor
        self._iteration = Iteration(
            now_s, now_s + seconds, steps, decoding, self.decoding.context_tokens, line, factor, mhz, chunks
        )
        self._version += 1
        events.append((now_s + seconds, partial(self._end, self._version)))
        return events

    def _steps(self, decoding: int, clock_holds: int) -> int:
        """Decode steps until a request ends, blocks run out, or a policy wants to be asked again."""
        steps = min(self.decoding.steps_to_end(), clock_holds)
        plan = self.policies.multiplexing.plan(decoding, 0)
        if plan.valid_steps:
            steps = min(steps, plan.valid_steps)
        return self.decoding.steps_that_fit(steps)

    def _mixed_s(self, chunks: list[tuple[Job, int]], point: Point) -> float:
        tokens = context = 0
        pairs = 0.0
        for job, count in chunks:
            tokens += count
            pairs += count * (job.computed + (count + 1) / 2)
            context += job.computed + count
        row = Row(tokens, pairs, context, len(chunks), len(self.decoding), self.decoding.context_tokens)
        return self.device.truth.one_s(row, point)

    def _chunks(self, admit: bool) -> list[tuple[Job, int]]:
        """What the multiplexing policy leaves to prompts: started ones first, then those that are admitted."""
        decoding = len(self.decoding)
        budget = self.policies.multiplexing.plan(decoding, self.prefill_tokens()).prefill_budget_tokens
        if not decoding:
            budget = max(budget, self.kv.block_tokens)
        chunks: list[tuple[Job, int]] = []
        for job in self.prefilling:
            if budget <= 0:
                break
            budget -= self._chunk(job, budget, chunks)
        while admit and budget > 0:
            admit = False
            for job in self._admissible():
                if budget <= 0 or not self._admit(job):
                    break
                budget -= self._chunk(job, budget, chunks)
                admit = True
        return chunks

    @staticmethod
    def _chunk(job: Job, budget: int, chunks: list[tuple[Job, int]]) -> int:
        count = min(budget, job.remaining_tokens)
        chunks.append((job, count))
        return count

    def _admissible(self) -> list[Job]:
        """Waiting requests that may start. One block per running request is kept back for its next tokens."""
        rows = self.device.max_batch - self.running
        if not self.waiting or rows <= 0:
            return []
        window = list(islice(self.waiting, min(rows, ADMISSION_WINDOW)))
        free = self.kv.free_blocks - self.running
        decision = self.policies.admission.admit(
            [self._view(job) for job in window], self.running, free, self.kv.block_tokens, self.device.max_batch
        )
        return [window[position] for position in decision.admit]

    def _view(self, job: Job) -> RequestView:
        """A waiting request as a policy sees it. Cached blocks that others use cost it nothing, so its prompt is without them."""
        tokens = job.context_tokens
        matched = self.kv.match(job.hashes, tokens) if job.hashes else 0
        free_of_charge = matched - self.kv.revived(job.hashes[:matched]) if matched else 0
        if tokens == job.view.prompt_tokens and not free_of_charge:
            return job.view
        return replace(job.view, prompt_tokens=tokens - free_of_charge * self.kv.block_tokens)

    def _admit(self, job: Job) -> bool:
        """Give a waiting request its blocks and a row; False if they are gone."""
        tokens = job.context_tokens
        matched = job.hashes[: self.kv.match(job.hashes, tokens)] if job.hashes else []
        private = self.kv.blocks_for(tokens) - len(matched)
        if private + self.kv.revived(matched) > self.kv.free_blocks:
            return False
        self.waiting.remove(job)
        self.waiting_tokens -= tokens
        holding = Holding(private, self.kv.share(matched))
        self.kv.take(private)
        job.computed = len(matched) * self.kv.block_tokens
        self.prefilling[job] = holding
        self.meter.reused_tokens += job.computed
        return True

    def _join(self, job: Job, holding: Holding, now_s: float) -> None:
        self.decoding.join(job, holding)
        self.meter.joined(job, now_s)

    def _end(self, version: int, now_s: float) -> Events:
        """The iteration is over, unless it was cut short or the worker died."""
        it = self._iteration
        if version != self._version or it is None:
            return NOTHING
        self._observe(now_s)
        self._iteration, self._changing = None, True
        self.meter.ended(it)
        events = list[tuple[float, Action]]()
        finished = list[Job]()
        if it.requests:
            self.decoding.advance(it.steps)
            ended = list(self.decoding.ended())
            finished = [job for job in ended if job not in self.cancelled]
            for job in ended:
                self._settle_tokens(job, now_s)
                self.departing.pop(job, None)
                self.kv.release(self.decoding.leave(job, grown=False))
            # Nor do those who leave take a block for their newest token, whose KV is not computed here.
            departing, self.departing = self.departing, {}
            for job, leaving in departing.items():
                self._settle_tokens(job, now_s)
                events += leaving(self.decoding.leave(job, grown=False), now_s)
            self.decoding.grow_last()
        completed = self._compute(it.chunks, now_s)
        for job in finished:
            events += self._owner.finished(job, self, now_s)
        for job in completed:
            if job in self.leases:
                events += self._owner.prefilled(job, self, now_s)
        self._changing = False
        if self.alive:
            events += self._start(now_s)
        self._tell()
        if now_s >= self.meter.samples.due_s:
            self.meter.sample(self, now_s)
        return events

    def _compute(self, chunks: list[tuple[Job, int]], now_s: float) -> list[Job]:
        """Count prompt tokens; returns the requests whose prompts are complete, which wait in `leases` for their owner's word."""
        completed = []
        for job, count in chunks:
            holding = self.prefilling.get(job)
            if holding is None:
                continue
            job.computed += count
            if job.hashes:
                known = len(holding.shared)
                self.kv.remember(holding, job.hashes[known : job.computed // self.kv.block_tokens])
            if not job.remaining_tokens:
                self.leases[job] = self.prefilling.pop(job)
                completed.append(job)
        return completed

    def keep(self, job: Job, now_s: float) -> Events:
        """Called by the owner in `prefilled`: this worker decodes what it has prefilled."""
        holding = self.leases.pop(job)
        if self.running < self.device.max_batch:
            self._join(job, holding, now_s)
        else:
            self.ready.append((job, holding))
        return NOTHING

    def _observe(self, now_s: float) -> None:
        """Before anything changes: what the last heartbeat saw."""
        if now_s >= self.meter.due_s:
            self.meter.observe(self, now_s)

    def _settle_tokens(self, job: Job, now_s: float) -> None:
        """Count the tokens that a request got from its steps here."""
        first, last = self.decoding.joined_at(job), self.cancelled.pop(job, self.decoding.step)
        self.meter.stayed(job, first, last)
        if last > first:
            job.emit(last - first, now_s)

    def _preempt(self, now_s: float) -> Events:
        """The youngest request gives up its blocks and goes back to the head of the queue."""
        victim = max((*self.decoding.jobs, *self.prefilling), key=lambda job: job.order)
        if victim in self.decoding.jobs:
            self._settle_tokens(victim, now_s)
            self.kv.release(self.decoding.leave(victim))
        else:
            self.kv.release(self.prefilling.pop(victim))
        self.departing.pop(victim, None)
        victim.computed = 0
        self.waiting.appendleft(victim)
        self.waiting_tokens += victim.context_tokens
        self.meter.preemptions += 1
        return self._owner.preempted(victim, now_s)

    def _drop(self, holding: Holding, now_s: float) -> Events:
        self.kv.release(holding)
        return NOTHING

    def _tell(self) -> None:
        if self.kv.stored or self.kv.removed:
            self._owner.cache_changed(self, self.kv.stored, self.kv.removed)
            self.kv.stored, self.kv.removed = [], []

    def check(self) -> None:
        """Recount blocks; raises AssertionError."""
        held = [*self.prefilling.values(), *self.leases.values(), *self.reservations.values()]
        held += [holding for _, holding in self.ready]
        private = sum(holding.private for holding in held)
        shared = [holding.shared for holding in held]
        for job, holding in self.decoding.jobs.items():
            context = job.context_tokens + self.decoding.emitted_since_join(job)
            private += self.kv.blocks_for(context) - len(holding.shared)
            shared.append(holding.shared)
        self.kv.check(private, shared)
        assert self.waiting_tokens == sum(job.context_tokens for job in self.waiting)
        assert self.running <= self.device.max_batch
