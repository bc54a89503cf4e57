"""Continuous batching: which tokens of which requests run in the next iteration."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from orchestrator.core.request import RequestView
from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.policies.multiplexing.base import MultiplexingPolicy
from workers.engine.base import Key
from workers.engine.torch.blocks import BlockManager
from workers.engine.torch.sequence import Running, blocks_for

ADMISSION_WINDOW = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens [start, end) of a request to compute now."""

    sequence: Running
    start: int
    end: int


class Scheduler:
    """Decoding requests always run; prefill gets what the multiplexing policy leaves it.

    `waiting` own no blocks. `ready` own theirs (a pulled context) and only lack a row of the batch. `running` have both.
    When blocks run out the youngest request gives up its own and recomputes later, keeping its place by age.
    """

    def __init__(
        self,
        blocks: BlockManager,
        block_tokens: int,
        max_batch: int,
        pinned: Callable[[Key], bool],
        forget: Callable[[Running], None],
    ) -> None:
        """`forget` takes the blocks away from a request that is preempted; `pinned` protects those in a transfer."""
        self.waiting: deque[Running] = deque()
        self.ready: deque[Running] = deque()
        self.running: list[Running] = []
        self.waiting_tokens = 0
        self.preemptions = 0
        self._blocks = blocks
        self._block_tokens = block_tokens
        self._max_batch = max_batch
        self._pinned = pinned
        self._forget = forget

    def enqueue(self, sequence: Running, first: bool = False) -> None:
        """Add to the end of the queue, or to its head."""
        if first:
            self.waiting.appendleft(sequence)
        else:
            self.waiting.append(sequence)
        self.waiting_tokens += len(sequence.tokens)

    def remove(self, sequence: Running) -> None:
        """Take a request out of whichever queue holds it."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.ready:
            self.ready.remove(sequence)
        else:
            self.waiting.remove(sequence)
            self.waiting_tokens -= len(sequence.tokens)

    def prefill_tokens(self) -> int:
        """Tokens of prompts, and of contexts to recompute, that are not computed yet."""
        return self.waiting_tokens + sum(s.remaining_tokens for s in self._started() if not s.decoding)

    def decode_context_tokens(self) -> int:
        """KV tokens that the next decode step reads."""
        return sum(len(s.tokens) for s in self._started() if s.decoding)

    def spare_blocks(self) -> int:
        """Blocks for a newcomer from elsewhere: those that neither running requests will grow into nor waiting ones came first for."""
        waiting = self.waiting_tokens // self._block_tokens + len(self.waiting)
        return self._blocks.available_blocks - len(self.running) - waiting

    def has_work(self, admission: AdmissionPolicy) -> bool:
        """True if `schedule` would return something."""
        return bool(self.running or self.ready or self._admissible(admission))

    def schedule(self, multiplexing: MultiplexingPolicy, admission: AdmissionPolicy) -> list[Chunk]:
        """The next iteration: chunks of one token first, then the longer ones."""
        preemptions = self.preemptions
        while self.ready and len(self.running) < self._max_batch:
            self.running.append(self.ready.popleft())
        self.running.sort(key=lambda s: s.order)
        grown = [s for s in tuple(self.running) if s in self.running and self._grow(s)]
        chunks = [Chunk(s, s.computed, s.computed + 1) for s in grown if s.decoding]
        budget = multiplexing.plan(len(chunks), self.prefill_tokens()).prefill_budget_tokens
        if not chunks:
            budget = max(budget, self._block_tokens)
        for sequence in grown:
            if budget > 0 and not sequence.decoding:
                budget -= self._prefill(sequence, budget, chunks)
        # Who preempts must not hand the blocks on to a younger request in the same breath.
        admitting = self.preemptions == preemptions
        while admitting and budget > 0:
            admitting = False
            for sequence in self._admissible(admission):
                if budget <= 0 or not self._start(sequence):
                    break
                budget -= self._prefill(sequence, budget, chunks)
                admitting = True
        return sorted(chunks, key=lambda chunk: chunk.end - chunk.start > 1)

    def _prefill(self, sequence: Running, budget: int, chunks: list[Chunk]) -> int:
        count = min(budget, sequence.remaining_tokens)
        chunks.append(Chunk(sequence, sequence.computed, sequence.computed + count))
        return count

    def _admissible(self, admission: AdmissionPolicy) -> list[Running]:
        """Waiting requests that may start. One block per running request is kept back for its next tokens."""
        rows = self._max_batch - len(self.running)
        if not self.waiting or rows <= 0:
            return []
        window = list(islice(self.waiting, min(rows, ADMISSION_WINDOW)))
        free = self._blocks.available_blocks - len(self.running)
        views = [self._view(sequence) for sequence in window]
        decision = admission.admit(views, len(self.running), free, self._block_tokens, self._max_batch)
        return [window[i] for i in decision.admit]

    def _view(self, sequence: Running) -> RequestView:
        """A waiting request as a policy sees it. Cached blocks that others use cost it nothing, so its prompt is without them."""
        _, needed = self._match(sequence)
        shared = blocks_for(len(sequence.tokens), self._block_tokens) - needed
        return RequestView(
            request_id=sequence.key.request_id,
            prompt_tokens=len(sequence.tokens) - shared * self._block_tokens,
            max_tokens=sequence.request.sampling.max_tokens,
            arrival_s=sequence.arrival_s,
            block_hashes=sequence.prefix.hashes,
        )

    def _match(self, sequence: Running) -> tuple[list[int], int]:
        """Cached blocks of a request's prefix and the blocks that it would take. The last token is always computed."""
        usable = (len(sequence.tokens) - 1) // self._block_tokens
        cached = self._blocks.match(sequence.prefix.head(usable)) if sequence.scores is None else []
        return cached, self._blocks.needed_blocks(cached, blocks_for(len(sequence.tokens), self._block_tokens))

    def _start(self, sequence: Running) -> bool:
        """Give a waiting request its blocks and a row; False if they are gone."""
        cached, needed = self._match(sequence)
        if needed > self._blocks.available_blocks:
            return False
        total = blocks_for(len(sequence.tokens), self._block_tokens)
        self.remove(sequence)
        self._blocks.share(cached)
        sequence.blocks.extend(cached)
        sequence.blocks.extend(self._blocks.take(total - len(cached)))
        sequence.computed = len(cached) * self._block_tokens
        sequence.remembered = len(cached)
        self.running.append(sequence)
        return True

    def _grow(self, sequence: Running) -> bool:
        """Make room for the KV of all its tokens; False if it was preempted or must wait for a pinned one."""
        missing = blocks_for(len(sequence.tokens), self._block_tokens) - len(sequence.blocks)
        while missing > 0:
            if available := self._blocks.available_blocks:
                taken = self._blocks.take(min(missing, available), after=sequence.blocks[-1])
                sequence.blocks.extend(taken)
                missing -= len(taken)
                continue
            younger = (s for s in self._started() if s.order >= sequence.order and not self._pinned(s.key))
            victim = max(younger, key=lambda s: s.order, default=None)
            if victim is None:
                return False
            self._preempt(victim)
            if victim is sequence:
                return False
        return True

    def _preempt(self, sequence: Running) -> None:
        self.remove(sequence)
        self._forget(sequence)
        self.preemptions += 1
        self.enqueue(sequence, first=True)

    def _started(self) -> tuple[Running, ...]:
        return (*self.running, *self.ready)
