"""The prompts of a simulated worker: those that wait, those in prefill, and which of their tokens are computed next."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice

from orchestrator.core.request import RequestView
from orchestrator.simulator.job import Job
from orchestrator.simulator.kv import Holding, KvPool
from orchestrator.simulator.owner import EnginePolicies

ADMISSION_WINDOW = 8
"""As many waiting requests as an engine shows its admission policy at once."""

Chunks = list[tuple[Job, int]]
"""Requests, and how many of their tokens."""


class Prompts:
    """`waiting` own no blocks, `prefilling` own those of their whole context. `reused_tokens` came out of the prefix cache."""

    def __init__(self, kv: KvPool, max_batch: int) -> None:
        self.waiting: deque[Job] = deque()
        self.prefilling: dict[Job, Holding] = {}
        self.reused_tokens = 0
        self._waiting_tokens = 0
        self._kv = kv
        self._max_batch = max_batch

    def enqueue(self, job: Job, first: bool = False) -> None:
        """Add to the end of the queue, or to its head."""
        job.computed = 0
        if first:
            self.waiting.appendleft(job)
        else:
            self.waiting.append(job)
        self._waiting_tokens += job.context_tokens

    def drop(self, job: Job) -> None:
        """Forget a request, if it is here. What the present iteration computes for it is lost."""
        if job in self.waiting:
            self._dequeue(job)
        elif job in self.prefilling:
            self._kv.release(self.prefilling.pop(job))

    def clear(self) -> None:
        """Forget all, as a worker that died."""
        self.waiting.clear()
        self.prefilling.clear()
        self._waiting_tokens = 0

    def tokens(self) -> int:
        """Tokens of prompts, and of contexts to recompute, that are not computed yet."""
        if not self.prefilling:
            return self._waiting_tokens
        return self._waiting_tokens + sum(job.remaining_tokens for job in self.prefilling)

    def promised_blocks(self) -> int:
        """Blocks that waiting requests came first for."""
        return self._waiting_tokens // self._kv.block_tokens + len(self.waiting)

    def chunks(self, policies: EnginePolicies, decoding: int, admit: bool) -> Chunks:
        """What the multiplexing policy leaves to prompts beside `decoding` requests: started ones first, then those admitted."""
        budget = policies.multiplexing.plan(decoding, self.tokens()).prefill_budget_tokens
        if not decoding:
            budget = max(budget, self._kv.block_tokens)
        chunks: Chunks = []
        for job in self.prefilling:
            if budget <= 0:
                break
            budget -= _take(job, budget, chunks)
        while admit and budget > 0:
            admit = False
            for job in self._admissible(policies, decoding):
                if budget <= 0 or not self._start(job):
                    break
                budget -= _take(job, budget, chunks)
                admit = True
        return chunks

    def compute(self, chunks: Chunks) -> list[tuple[Job, Holding]]:
        """Count tokens as computed; returns the requests whose context is complete, which are no longer here."""
        completed = []
        for job, count in chunks:
            holding = self.prefilling.get(job)
            if holding is None:
                continue
            job.computed += count
            if job.hashes:
                known = len(holding.shared)
                self._kv.remember(holding, job.hashes[known : job.computed // self._kv.block_tokens])
            if not job.remaining_tokens:
                del self.prefilling[job]
                completed.append((job, holding))
        return completed

    def check(self) -> None:
        """Recount waiting tokens; raises AssertionError."""
        assert self._waiting_tokens == sum(job.context_tokens for job in self.waiting)

    def _dequeue(self, job: Job) -> None:
        self.waiting.remove(job)
        self._waiting_tokens -= job.context_tokens

    def _admissible(self, policies: EnginePolicies, decoding: int) -> list[Job]:
        """Waiting requests that may start. One block per running request is kept back for its next tokens."""
        running = decoding + len(self.prefilling)
        rows = self._max_batch - running
        if not self.waiting or rows <= 0:
            return []
        window = list(islice(self.waiting, min(rows, ADMISSION_WINDOW)))
        decision = policies.admission.admit(
            [self._view(job) for job in window],
            running,
            self._kv.free_blocks - running,
            self._kv.block_tokens,
            self._max_batch,
        )
        return [window[position] for position in decision.admit]

    def _view(self, job: Job) -> RequestView:
        """A waiting request as a policy sees it. Cached blocks that others use cost it nothing, so its prompt is without them."""
        tokens = job.context_tokens
        matched = self._kv.match(job.hashes, tokens) if job.hashes else 0
        free_of_charge = matched - self._kv.revived(job.hashes[:matched]) if matched else 0
        if tokens == job.view.prompt_tokens and not free_of_charge:
            return job.view
        return replace(job.view, prompt_tokens=tokens - free_of_charge * self._kv.block_tokens)

    def _start(self, job: Job) -> bool:
        """Give a waiting request its blocks and a row; False if they are gone."""
        tokens = job.context_tokens
        matched = job.hashes[: self._kv.match(job.hashes, tokens)] if job.hashes else []
        private = self._kv.blocks_for(tokens) - len(matched)
        if private + self._kv.revived(matched) > self._kv.free_blocks:
            return False
        self._dequeue(job)
        self.prefilling[job] = Holding(private, self._kv.share(matched))
        self._kv.take(private)
        job.computed = len(matched) * self._kv.block_tokens
        self.reused_tokens += job.computed
        return True


def _take(job: Job, budget: int, chunks: Chunks) -> int:
    count = min(budget, job.remaining_tokens)
    chunks.append((job, count))
    return count
