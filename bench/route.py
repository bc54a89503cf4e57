"""A whole routing decision, beside Dynamo's radix tree: hash a 4,096-token prompt, look its prefix up, score, choose, account, explain.

Half of every prompt is cached: by every worker (`all`, a system prompt), by one in eight, or by one. The index knows a million other
blocks. The peer hashes, looks up and takes the cheapest worker; it accounts for nothing and gives no reason. Each gets prompts in the
form that costs it least: an array of token ids here, a list there. Figures are CPU time of the whole process, the mean over 16 prompts
in the best of many alternating rounds, since other work on the machine only slows it.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Bench, Check, run
from bench.route_peer import MISSING, DynamoTree
from orchestrator.core.cluster import Ints, Role
from orchestrator.core.hashing import block_hashes
from orchestrator.core.request import BlockHashes, RequestView
from orchestrator.policies.registry import make
from orchestrator.routing.router import Report, Router

PROMPT_TOKENS, CACHED_TOKENS, PROMPTS = 4096, 2048, 16
INDEXED = 1_000_000
TIMED_EVENTS = 4000
FILL_BLOCKS = 1000
WORKERS = (64, 1000)
BLOCKS = (16, 512)
MOST_OF_PEER = {64: 1.0, 1000: 0.5}


class Ours:
    """A router with the `prefix_aware` policy."""

    def __init__(self, workers: int, block_tokens: int, queue_tokens: list[int]) -> None:
        self.router = Router(make("routing", "prefix_aware"))
        self._block_tokens = block_tokens
        for i, tokens in enumerate(queue_tokens):
            self.router.set_worker(f"worker-{i}", Role.PREFILL, True)
            self.router.report(f"worker-{i}", Report(1, 1, tokens, 0, 0, 10**6, block_tokens, 0.01))

    def stored(self, worker: int, hashes: BlockHashes | list[int]) -> None:
        self.router.cache_events(f"worker-{worker}", hashes, ())

    def hashes(self, tokens: array[int]) -> BlockHashes:
        return block_hashes(tokens, self._block_tokens)

    def decide(self, request_id: str, tokens: array[int]) -> str:
        """The detail of the decision."""
        router = self.router
        hashes = block_hashes(tokens, self._block_tokens)
        request = RequestView(request_id, len(tokens), 256, 0.0, block_hashes=hashes)
        placed = router.place_prefill(request)
        assert placed.worker is not None
        router.account(request, router.view.names[placed.worker], Role.PREFILL)
        return placed.detail


def rss_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def chains(rng: np.random.Generator, workers: int, block_tokens: int) -> Iterator[tuple[int, BlockHashes]]:
    """Blocks stored one prompt after the other, a million in all: first timed ones of half a prompt, then longer ones."""
    left = INDEXED
    for number in range(INDEXED):
        size = min(left, CACHED_TOKENS // block_tokens if number < TIMED_EVENTS else FILL_BLOCKS)
        if not size:
            return
        left -= size
        yield int(rng.integers(workers)), rng.integers(1, 2**63, size).astype(np.uint64)


def fill(
    events: Iterator[tuple[int, BlockHashes]], prepare: Callable[[BlockHashes], Any], store: Callable[[int, Any], None]
) -> float:
    """Microseconds per block of the timed events; `prepare` is not timed."""
    timed_s, blocks = 0.0, 0
    batch: list[tuple[int, Any]] = []
    for number, (worker, hashes) in enumerate(events):
        if number >= TIMED_EVENTS:
            store(worker, prepare(hashes))
            continue
        blocks += len(hashes)
        batch.append((worker, prepare(hashes)))
        if len(batch) == 500:
            began_s = time.process_time()
            for item in batch:
                store(*item)
            timed_s += time.process_time() - began_s
            batch = []
    return timed_s / blocks * 1e6


def grown_mib(side: str, workers: int, block_tokens: int, seed: int) -> float:
    """Resident memory that a million blocks take, in a process of their own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_grown_mib, (side, workers, block_tokens, seed))


def _grown_mib(side: str, workers: int, block_tokens: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    if side == "index":
        ours = Ours(workers, block_tokens, [0] * workers)
        before_mib = rss_mib()
        fill(chains(rng, workers, block_tokens), np.ndarray.tolist, ours.stored)
    else:
        tree = DynamoTree.make(workers, block_tokens)
        assert tree is not None
        before_mib = rss_mib()
        fill(chains(rng, workers, block_tokens), tree.fresh_event, tree.stored)
        tree.matches([1])
    gc.collect()
    return rss_mib() - before_mib


def holders(held_by: str, workers: int, prompt: int) -> list[int]:
    """Which workers hold the first half of a prompt."""
    count = {"all": workers, "eighth": workers // 8, "one": 1}[held_by]
    return [(prompt * 7 + i * (workers // count)) % workers for i in range(count)]


def best_us(rounds: int, *sides: Callable[[], None]) -> list[float]:
    """Per side, microseconds per prompt of its best round; the sides take turns."""
    best = [float("inf")] * len(sides)
    gc.disable()
    for _ in range(rounds):
        for i, side in enumerate(sides):
            began_s = time.process_time()
            side()
            best[i] = min(best[i], (time.process_time() - began_s) / PROMPTS * 1e6)
    gc.enable()
    return best


def compare(bench: Bench, workers: int, block_tokens: int) -> None:
    """One size of cluster and blocks: the costs of state, then decisions by who holds the prefix."""
    rng = np.random.default_rng(bench.seed)
    queue_tokens = rng.integers(0, 512, workers)
    ours, peer = Ours(workers, block_tokens, queue_tokens.tolist()), DynamoTree.make(workers, block_tokens)
    common = {"workers": workers, "block_tokens": block_tokens}
    for name in ("index", "dynamo") if peer is not None else ("index",):
        events = chains(np.random.default_rng(bench.seed), workers, block_tokens)
        if name == "index":
            insert_us = fill(events, np.ndarray.tolist, ours.stored)
        else:
            assert peer is not None
            insert_us = fill(events, peer.fresh_event, peer.stored)
            peer.matches([1])
        mib = grown_mib(name, workers, block_tokens, bench.seed)
        bench.figure(what=f"state of {name}", **common, insert_us_per_block=insert_us, mib_per_million=mib)
    for held_by in ("all", "eighth", "one"):
        prompts = [array("I", rng.integers(0, 128_000, PROMPT_TOKENS).tolist()) for _ in range(PROMPTS)]
        lists = [prompt.tolist() for prompt in prompts]
        for number, prompt in enumerate(prompts):
            first = prompt[:CACHED_TOKENS]
            for worker in holders(held_by, workers, number):
                ours.stored(worker, ours.hashes(first))
            if peer is not None:
                known = peer.hashes(lists[number][:CACHED_TOKENS])
                stored = peer.event(known)
                for worker in holders(held_by, workers, number):
                    peer.stored(worker, stored)
                assert peer.matches(known) == len(holders(held_by, workers, number))
        decisions(bench, ours, peer, prompts, lists, queue_tokens, {**common, "held_by": held_by})


def decisions(
    bench: Bench,
    ours: Ours,
    peer: DynamoTree | None,
    prompts: list[array[int]],
    lists: list[list[int]],
    queue_tokens: Ints,
    common: dict[str, int | str],
) -> None:
    """Time decisions, and the parts of ours."""
    router = ours.router
    views = [RequestView(str(i), PROMPT_TOKENS, 256, 0.0, block_hashes=ours.hashes(p)) for i, p in enumerate(prompts)]
    details: list[str] = []

    def decide() -> None:
        for i, prompt in enumerate(prompts):
            details.append(ours.decide(str(i), prompt))

    def settle() -> None:
        for i in range(PROMPTS):
            router.settle(str(i), Role.PREFILL)
        details.clear()

    def peer_decides() -> None:
        if peer is not None:
            for tokens in lists:
                peer.decide(tokens, queue_tokens)

    def hashing() -> None:
        for prompt in prompts:
            ours.hashes(prompt)

    def lookup() -> None:
        for view in views:
            router.prefix.matches(view.block_hashes, len(router.view))

    def place() -> None:
        for view in views:
            router.place_prefill(view)

    decide()
    assert all(f"{CACHED_TOKENS} of {PROMPT_TOKENS} prompt tokens held" in detail for detail in details), details[0]
    settle()
    us, peer_us, settle_us, hash_us, lookup_us, place_us = _rounds(
        bench, [decide, peer_decides, settle, hashing, lookup, place]
    )
    row = {
        "us": us,
        "hash_us": hash_us,
        "lookup_us": lookup_us,
        "score_us": place_us - lookup_us,
        "settle_us": settle_us,
    }
    if peer is None:
        bench.figure(what="decision", **common, **row)
        return
    share = us / peer_us
    bench.figure(what="decision", **common, **row, dynamo_us=peer_us, of_dynamo=share)
    workers = int(common["workers"])
    name = f"{workers} workers, {common['block_tokens']}-token blocks, held by {common['held_by']}: time of Dynamo's"
    bench.check(Check(name, share, "<=", MOST_OF_PEER[workers]))


def _rounds(bench: Bench, sides: list[Callable[[], None]]) -> list[float]:
    return best_us(40 if bench.quick else 300, *sides)


def measure(bench: Bench) -> None:
    """Every size of cluster and of blocks."""
    for workers in WORKERS:
        for block_tokens in BLOCKS:
            compare(bench, workers, block_tokens)
    if DynamoTree.make(1, 16) is None:
        bench.note(MISSING)


if __name__ == "__main__":
    run("route", measure, __doc__)
