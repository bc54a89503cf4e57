"""Who hears from a simulated worker, and the policies that its engine asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from orchestrator.policies.admission.base import AdmissionPolicy
from orchestrator.policies.frequency.base import FrequencyPolicy
from orchestrator.policies.multiplexing.base import MultiplexingPolicy
from orchestrator.simulator.job import Job
from orchestrator.simulator.loop import Events

if TYPE_CHECKING:
    from orchestrator.simulator.worker import Worker


class Owner(Protocol):
    """What a worker tells."""

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
    """The decisions that are taken in an engine."""

    admission: AdmissionPolicy
    multiplexing: MultiplexingPolicy
    frequency: FrequencyPolicy
