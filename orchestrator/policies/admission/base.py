"""Admission: which waiting requests may start, in the front door's queue and in an engine's batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.core.decisions import Admission
from orchestrator.core.request import RequestView


class AdmissionPolicy(Protocol):
    """Decides on arrival and when a batch has ended."""

    def admit(
        self, queue: Sequence[RequestView], running: int, free_blocks: int, block_tokens: int, max_batch: int
    ) -> Admission:
        """Positions in `queue` that start now, given `running` requests in a batch of at most `max_batch`."""
