"""A worker that steps token by token: slow, plain, and the standard for the one that runs ahead."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestrator.performance.latency.row import Row
from orchestrator.performance.truth import Truth
from orchestrator.policies.admission.fcfs import FirstComeFirstServed
from orchestrator.simulator.job import Job


@dataclass(eq=False)
class Plain:
    """One request: what it wants, what it holds, and when each of its tokens came."""

    job: Job
    at_s: float
    blocks: int = 0
    computed: int = 0
    times_s: list[float] = field(default_factory=list)

    @property
    def context(self) -> int:
        return self.job.view.prompt_tokens + len(self.times_s)

    @property
    def is_over(self) -> bool:
        return len(self.times_s) == self.job.output_tokens


@dataclass
class Reference:
    """Continuous batching with chunked prefill of `budget` tokens, first come first served, the youngest preempted."""

    truth: Truth
    total_blocks: int
    block_tokens: int
    max_batch: int
    budget: int
    waiting: list[Plain] = field(default_factory=list)
    prefilling: list[Plain] = field(default_factory=list)
    decoding: list[Plain] = field(default_factory=list)
    preemptions: int = 0

    def run(self, requests: list[Plain]) -> None:
        """Serve all; requests are in order of arrival."""
        now_s, coming = 0.0, list(requests)
        while coming or self.waiting or self.prefilling or self.decoding:
            if not (self.waiting or self.prefilling or self.decoding):
                now_s = max(now_s, coming[0].at_s)
                self.waiting.append(coming.pop(0))
            end_s = now_s + self._iteration()
            while coming and coming[0].at_s < end_s:
                self.waiting.append(coming.pop(0))
            self._end(end_s)
            now_s = end_s

    def _for(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)

    def _free(self) -> int:
        return self.total_blocks - sum(r.blocks for r in (*self.prefilling, *self.decoding))

    def _iteration(self) -> float:
        """Choose what runs; seconds of it."""
        preempted = False
        for r in self.decoding:
            r.blocks = self._for(r.context)
        while self._free() < 0:
            victim = max((*self.prefilling, *self.decoding), key=lambda r: r.job.order)
            (self.prefilling if victim in self.prefilling else self.decoding).remove(victim)
            victim.blocks = victim.computed = 0
            self.waiting.insert(0, victim)
            self.preemptions += 1
            preempted = True
        left = max(self.budget - len(self.decoding), 16)
        if not self.decoding:
            left = max(left, self.block_tokens)
        self.chunks: list[tuple[Plain, int]] = []
        for r in self.prefilling:
            left = self._chunk(r, left)
        while not preempted and left > 0 and (admitted := self._admit()):
            for r in admitted:
                if left <= 0:
                    break
                self.waiting.remove(r)
                self.prefilling.append(r)
                r.blocks, r.computed = self._for(r.context), 0
                left = self._chunk(r, left)
        rows, context = len(self.decoding), sum(r.context for r in self.decoding)
        if not self.chunks:
            assert rows, "a request waits that nothing can make room for"
            return self.truth.one_s(Row(0, 0.0, 0, 0, rows, context))
        tokens = sum(count for _, count in self.chunks)
        pairs = sum(count * (r.computed + (count + 1) / 2) for r, count in self.chunks)
        read = sum(r.computed + count for r, count in self.chunks)
        return self.truth.one_s(Row(tokens, pairs, read, len(self.chunks), rows, context))

    def _chunk(self, r: Plain, left: int) -> int:
        count = min(left, r.context - r.computed)
        if count > 0:
            self.chunks.append((r, count))
        return left - count

    def _admit(self) -> list[Plain]:
        running = len(self.prefilling) + len(self.decoding)
        window = self.waiting[: min(8, max(0, self.max_batch - running))]
        views = [replace(r.job.view, prompt_tokens=r.context) for r in window]
        free = self._free() - running
        chosen = FirstComeFirstServed().admit(views, running, free, self.block_tokens, self.max_batch).admit
        return [window[i] for i in chosen]

    def _end(self, now_s: float) -> None:
        for r in self.decoding:
            r.times_s.append(now_s)
        for r, count in self.chunks:
            r.computed += count
            if r.computed == r.context:
                self.prefilling.remove(r)
                r.times_s.append(now_s)
                self.decoding.append(r)
        self.decoding = [r for r in self.decoding if not r.is_over]
