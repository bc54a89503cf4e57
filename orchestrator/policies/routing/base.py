"""Routing: which worker prefills a request, which decodes it, or which does both."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from orchestrator.core.cluster import ClusterView, Ints
from orchestrator.core.decisions import Placement
from orchestrator.core.request import BlockHashes, RequestView


class PrefixIndex(Protocol):
    """Which worker holds the KV of which prompt prefixes."""

    def matches(self, block_hashes: BlockHashes, n_workers: int) -> Ints:
        """Number of leading blocks that each of the view's rows holds. Shape (n_workers,)."""


class RoutingPolicy(Protocol):
    """Decides when a request arrives, and once more before its prefill ends.

    Every placement is a row of `view` that accepts work and has room, or None with NO_CAPACITY: ask again when the view
    has changed. `co_locate` says that the worker runs both phases.
    """

    def place_prefill(self, request: RequestView, view: ClusterView, prefix: PrefixIndex) -> Placement:
        """A worker for the prompt. Without live prefill workers, a decode worker that runs both phases."""

    def place_decode(self, request: RequestView, view: ClusterView, prefill_worker: int | None) -> Placement:
        """A worker for the output of a request whose prompt runs on row `prefill_worker` (None: not known).

        A prefill worker that may decode keeps its request; without live decode workers every prefill worker does.
        """


@runtime_checkable
class Staggered(Protocol):
    """A routing policy whose turns can begin elsewhere than at the first row."""

    def stagger(self, number: int) -> None:
        """Take turns from here on as `number` (above 0, another one in every front door) says.

        Front doors whose policies were given different numbers and see equal views do not choose the same workers in step.
        """
