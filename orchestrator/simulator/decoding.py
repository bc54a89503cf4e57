"""The decoding requests of a worker, advanced by whole runs of steps instead of token by token."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from orchestrator.simulator.job import Job
from orchestrator.simulator.kv import Holding, KvPool


class Decoding:
    """`step` counts decode steps of this worker, `generated_tokens` their tokens. Contexts, blocks and ends follow from `step`:

    a request that joined at step s with c tokens has c + (step - s). Requests whose contexts agree modulo the block size grow a
    block in the same steps, so a histogram of these residues gives the blocks that any number of steps needs.
    """

    def __init__(self, kv: KvPool) -> None:
        self.step = self.generated_tokens = 0
        self.context_tokens = 0
        self.jobs: dict[Job, Holding] = {}
        self._kv = kv
        self._joined: dict[Job, tuple[int, int, int]] = {}
        self._ends: list[tuple[int, int, int, Job]] = []
        self._joins = 0
        self._residues = [0] * kv.block_tokens

    def __len__(self) -> int:
        return len(self.jobs)

    def join(self, job: Job, holding: Holding) -> None:
        """Add a request that holds the blocks of its context but perhaps the newest token's."""
        tokens = job.context_tokens
        missing = self._kv.blocks_for(tokens) - holding.blocks
        self._kv.take(missing)
        self.jobs[job] = holding
        self._joins += 1
        self._joined[job] = (self.step, tokens, self._joins)
        self.context_tokens += tokens
        self._residues[(tokens - self.step) % self._kv.block_tokens] += 1
        # Who left before its end, and perhaps joined again, is known by the number of its join.
        heapq.heappush(self._ends, (self.step + job.output_tokens - job.emitted, job.order, self._joins, job))

    def joined_at(self, job: Job) -> int:
        """The step before which it joined."""
        return self._joined[job][0]

    def emitted_since_join(self, job: Job) -> int:
        return self.step - self._joined[job][0]

    def leave(self, job: Job, grown: bool = True) -> Holding:
        """Take out a request; returns what it holds. Between `advance` and `grow_last` it has not `grown` for its newest token."""
        holding = self.jobs.pop(job)
        joined, tokens, _ = self._joined.pop(job)
        context = tokens + self.step - joined
        holding.private = self._kv.blocks_for(context if grown else context - 1) - len(holding.shared)
        self.context_tokens -= context
        self._residues[(tokens - joined) % self._kv.block_tokens] -= 1
        return holding

    def steps_to_end(self) -> int:
        """Steps until the first request ends."""
        while not self._is_current(*self._ends[0][2:]):
            heapq.heappop(self._ends)
        return self._ends[0][0] - self.step

    def _is_current(self, join: int, job: Job) -> bool:
        return job in self._joined and self._joined[job][2] == join

    def ended(self) -> Iterator[Job]:
        """Requests whose last token is out, by age."""
        while self._ends and self._ends[0][0] <= self.step:
            *_, join, job = heapq.heappop(self._ends)
            if self._is_current(join, job):
                yield job

    def growth(self, steps: int) -> int:
        """Blocks that the contexts grow by in that many steps."""
        size, residues = self._kv.block_tokens, self._residues
        whole, rest = divmod(steps, size)
        first = (1 - self.step - rest) % size
        grown = sum(residues[first : first + rest]) + sum(residues[: max(0, first + rest - size)])
        return whole * len(self.jobs) + grown

    def steps_that_fit(self, wanted: int) -> int:
        """At most `wanted` steps, at least 1, whose contexts the free blocks hold until the last of them has run."""
        free = self._kv.free_blocks
        if len(self.jobs) * (wanted // self._kv.block_tokens + 1) <= free or self.growth(wanted - 1) <= free:
            return wanted
        low, high = 1, wanted
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.growth(middle - 1) <= free else (low, middle)
        return low

    def advance(self, steps: int) -> None:
        """Run `steps` steps; blocks are taken for all but the last, see `grow_last`."""
        self._kv.take(self.growth(steps - 1))
        self.step += steps
        self.generated_tokens += steps * len(self.jobs)
        self.context_tokens += steps * len(self.jobs)

    def grow_last(self) -> None:
        """Blocks for what the last step added, once those that ended have left."""
        self._kv.take(self._residues[(1 - self.step) % self._kv.block_tokens])
