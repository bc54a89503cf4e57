"""Dynamo's radix tree of KV blocks, asked as its router asks it: hash the prompt, match, take the cheapest worker."""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np

from orchestrator.core.cluster import Ints
from orchestrator.core.request import BlockHashes

MISSING = (
    "ai-dynamo-runtime is not installed, so its rows are left out: pip install ai-dynamo-runtime (or tandem[peers])"
)
_VECTOR = 24
"""From so many matches on, arrays cost less than a loop."""


class DynamoTree:
    """`make` gives None where the package is missing."""

    def __init__(self, core: Any, workers: int, block_tokens: int) -> None:
        self._tree = core.RadixTree()
        self._hash = core.compute_block_hash_for_seq
        self._block_tokens = block_tokens
        self._workers = workers
        self._events = 0
        self._blocks = 0

    @staticmethod
    def make(workers: int, block_tokens: int) -> DynamoTree | None:
        try:
            return DynamoTree(importlib.import_module("dynamo._core"), workers, block_tokens)
        except ImportError:
            return None

    def hashes(self, tokens: list[int]) -> list[int]:
        """Hashes of the blocks by themselves, which its tree is keyed by."""
        result: list[int] = self._hash(tokens, self._block_tokens)
        return result

    def event(self, hashes: list[int]) -> bytes:
        """What `stored` takes: a chain of blocks from the beginning of a prompt. Send the same to every worker that holds it."""
        self._events += 1
        numbers = range(self._blocks + 1, self._blocks + len(hashes) + 1)
        self._blocks += len(hashes)
        blocks = [{"block_hash": number, "tokens_hash": h} for number, h in zip(numbers, hashes, strict=True)]
        data = {"stored": {"parent_hash": None, "blocks": blocks}}
        return json.dumps({"event_id": self._events, "data": data, "dp_rank": 0}).encode()

    def fresh_event(self, hashes: BlockHashes) -> bytes:
        """`event` of an array."""
        return self.event(hashes.tolist())

    def stored(self, worker: int, event: bytes) -> None:
        self._tree.apply_event(worker, event)

    def matches(self, hashes: list[int]) -> int:
        """Workers that hold the first of these. Comes back once everything stored before has been taken in."""
        return len(self._tree.find_matches(hashes).scores)

    def decide(self, tokens: list[int], queue_tokens: Ints) -> int:
        """The worker of the least queued tokens less cached ones."""
        scores = self._tree.find_matches(self._hash(tokens, self._block_tokens)).scores
        cost = queue_tokens.copy()
        if len(scores) < _VECTOR:
            for (worker, _), blocks in scores.items():
                cost[worker] -= blocks * self._block_tokens
        else:
            rows = np.fromiter([key[0] for key in scores], np.int64, len(scores))
            cost[rows] -= np.fromiter(scores.values(), np.int64, len(scores)) * self._block_tokens
        return int(cost.argmin())
