"""Section `faults`: when a process that still exists counts as hung."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.config.settings import setting


@dataclass(frozen=True, slots=True)
class Faults:
    """A hung process is killed and started again, like one that died."""

    hung_after_s: float = setting(
        "a worker or front door process that gives no sign of life for this long is restarted, in seconds",
        5.0,
        minimum=1,
        maximum=3600,
    )
    step_timeout_s: float = setting(
        "a worker whose engine step or transfer thread stands still for this long is restarted, in seconds",
        60.0,
        minimum=1,
        maximum=86400,
    )
    answer_timeout_s: float = setting(
        "a controller, worker host or Ray that does not answer for this long is restarted, in seconds",
        10.0,
        minimum=5,
        maximum=3600,
    )
