"""A simulated worker: continuous batching with chunked prefill, in iterations and in runs of decode steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from orchestrator.simulator.clocks import Clocks
from orchestrator.simulator.decoding import Decoding
from orchestrator.simulator.device import Device
from orchestrator.simulator.iteration import Iteration
from orchestrator.simulator.job import Job
from orchestrator.simulator.kv import Holding, KvPool
from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.meter import Meter
from orchestrator.simulator.owner import EnginePolicies, Owner
from orchestrator.simulator.pace import Pace
from orchestrator.simulator.prompts import Prompts


class Worker:
    """Prompts that wait own no blocks. `ready` requests own theirs (a context that was pulled) and lack a row of the batch. Prompts in
    prefill and those `decoding` have both. `leases` wait to be pulled, `reservations` for a context to come. When blocks run out the
    youngest request gives up its own and recomputes later, keeping its place by age.
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
        self.alive = True
        self.kv = KvPool(device.kv_blocks, block_tokens, prefix_cache)
        self.decoding = Decoding(self.kv)
        self.prompts = Prompts(self.kv, device.max_batch)
        self.ready: deque[tuple[Job, Holding]] = deque()
        self.leases: dict[Job, Holding] = {}
        self.reservations: dict[Job, Holding] = {}
        self.departing: dict[Job, Callable[[Holding, float], Events]] = {}
        # Requests that nobody wants any more, and up to which step their tokens still reached somebody.
        self.cancelled: dict[Job, int] = {}
        self._owner = owner
        self._pace = Pace(device, clocks, normal)
        self._iteration: Iteration | None = None
        self._version = 0
        # True while the batch changes: what happens meanwhile must not start an iteration.
        self._changing = False

    # What others ask for

    def enqueue(self, job: Job, now_s: float) -> Events:
        """Prefill this request, in its turn."""
        self._observe(now_s)
        self.prompts.enqueue(job)
        return self.wake(now_s)

    def reserve(self, job: Job, tokens: int, now_s: float) -> Events | None:
        """Set blocks aside for a context to come, or more for one that has grown; None where those that came first need them."""
        reserved, it = self.reservations.get(job, Holding(0)), self._iteration
        blocks = self.kv.blocks_for(tokens) - reserved.private
        # What the whole run can take at most leaves enough nearly always, and then nothing else has to be worked out.
        run_blocks = (
            it.requests * (it.steps // self.kv.block_tokens + 1) if it is not None and it.line is not None else 0
        )
        ample = blocks + run_blocks + self.running + self.prompts.promised_blocks() <= self.kv.free_blocks
        if not ample and blocks > self.spare_blocks(now_s):
            return None
        self._observe(now_s)
        self.reservations[job] = reserved
        if blocks > 0:
            reserved.private += blocks
            self.kv.take(blocks)
        self._tell()
        if ample or it is None or it.line is None:
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
        self._sample(now_s)
        return self.wake(now_s)

    def cancel(self, job: Job, now_s: float) -> Events:
        """Forget a request, whatever it does here. One that decodes leaves when its step ends."""
        if job in self.decoding.jobs:
            self.cancelled[job] = self.decoding.step + self.progress(now_s)[0]
            return self.depart(job, self._drop, now_s)
        self._observe(now_s)
        self.prompts.drop(job)
        for entry in [entry for entry in self.ready if entry[0] is job]:
            self.ready.remove(entry)
            self.kv.release(entry[1])
        return self.release(job, now_s) or self.wake(now_s)

    def depart(self, job: Job, then: Callable[[Holding, float], Events], now_s: float) -> Events:
        """Take a decoding request out when its step ends; `then` gets its blocks, which stay held."""
        self.departing[job] = then
        return self.wake(now_s)

    def kill(self, now_s: float) -> None:
        """Die, and everything here with it."""
        self.halt(now_s)
        self.alive = False
        self._version += 1
        self._iteration = None
        self.kv.clear()
        self.decoding = Decoding(self.kv)
        self.prompts.clear()
        self.ready.clear()
        for holdings in (self.leases, self.reservations):
            holdings.clear()
        self.departing.clear()
        self.cancelled.clear()

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
        return len(self.decoding.jobs) + len(self.prompts.prefilling)

    @property
    def is_idle(self) -> bool:
        """True when nothing runs, waits, or is held for somebody."""
        busy = self.running or self.prompts.waiting or self.ready or self.leases or self.reservations
        return not busy and self._iteration is None

    def spare_blocks(self, now_s: float) -> int:
        """Blocks for a newcomer from elsewhere: those that neither running requests will grow into nor waiting ones came first for."""
        grown = self.decoding.growth(self.progress(now_s)[0])
        return self.kv.free_blocks - grown - self.running - self.prompts.promised_blocks()

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
            idle = self._changing or not (self.running or self.prompts.waiting or self.ready)
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
        return bool(self.departing or ((self.ready or self.prompts.waiting) and self.running < self.device.max_batch))

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
        prompts = self.prompts
        waits = prompts.prefilling or prompts.waiting
        chunks = prompts.chunks(self.policies, len(self.decoding.jobs), admit) if waits else []
        self._changing = False
        if not chunks and not self.decoding.jobs:
            # Who was preempted may have ended a migration whose request is back, ready, since the batch was made up.
            return [*events, *self._start(now_s)] if self.ready else events
        self._iteration = it = self._pace.iteration(self.policies, self.decoding, chunks, now_s)
        self._version += 1
        events.append((it.end_s, partial(self._end, self._version)))
        return events

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
        # They wait in `leases` for their owner's word.
        completed = self.prompts.compute(it.chunks)
        self.meter.first_tokens += len(completed)
        self.leases.update(completed)
        for job in finished:
            events += self._owner.finished(job, self, now_s)
        for job, _ in completed:
            if job in self.leases:
                events += self._owner.prefilled(job, self, now_s)
        self._changing = False
        if self.alive:
            events += self._start(now_s)
        self._tell()
        self._sample(now_s)
        return events

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

    def _sample(self, now_s: float) -> None:
        """After something has changed: what the plots show."""
        if now_s >= self.meter.samples.due_s:
            self.meter.sample(self, now_s)

    def _settle_tokens(self, job: Job, now_s: float) -> None:
        """Count the tokens that a request got from its steps here."""
        first, last = self.decoding.joined_at(job), self.cancelled.pop(job, self.decoding.step)
        self.meter.stayed(job, first, last)
        if last > first:
            job.emit(last - first, now_s)

    def _preempt(self, now_s: float) -> Events:
        """The youngest request gives up its blocks and goes back to the head of the queue."""
        victim = max((*self.decoding.jobs, *self.prompts.prefilling), key=lambda job: job.order)
        if victim in self.decoding.jobs:
            self._settle_tokens(victim, now_s)
            self.kv.release(self.decoding.leave(victim))
        else:
            self.prompts.drop(victim)
        self.departing.pop(victim, None)
        self.prompts.enqueue(victim, first=True)
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
        held = [*self.prompts.prefilling.values(), *self.leases.values(), *self.reservations.values()]
        held += [holding for _, holding in self.ready]
        private = sum(holding.private for holding in held)
        shared = [holding.shared for holding in held]
        for job, holding in self.decoding.jobs.items():
            context = job.context_tokens + self.decoding.emitted_since_join(job)
            private += self.kv.blocks_for(context) - len(holding.shared)
            shared.append(holding.shared)
        self.kv.check(private, shared)
        self.prompts.check()
        assert self.running <= self.device.max_batch
