"""What a front door remembers of a request, for `pdctl get requests` and `explain`."""

from __future__ import annotations

import time
from collections.abc import Sized
from dataclasses import dataclass, field

from orchestrator.core.request import RequestState, advance
from orchestrator.observability.trace import Trace


@dataclass(slots=True)
class StageRecord:
    """One stage. `started_s` counts from arrival; `seconds` is None while it lasts."""

    name: str
    worker: str
    started_s: float
    attempt: int
    reason: str = ""
    detail: str = ""
    seconds: float | None = None


@dataclass(slots=True)
class RequestRecord:
    """Times in seconds: `arrived_at` on the wall clock, the others from arrival."""

    request_id: str
    model: str
    tier: str
    prompt_tokens: int
    max_tokens: int
    arrived_at: float
    state: RequestState = RequestState.QUEUED
    attempt: int = 1
    output: Sized = ()
    prefill_worker: str = ""
    decode_worker: str = ""
    co_located: bool = False
    finish_reason: str = ""
    error: str = ""
    cached_tokens: int = 0
    kv_bytes: int = 0
    ttft_s: float | None = None
    e2e_s: float | None = None
    stages: list[StageRecord] = field(default_factory=list)
    trace: Trace | None = None
    _start_s: float = field(default_factory=time.monotonic)
    _open: dict[str, StageRecord] = field(default_factory=dict)

    @property
    def output_tokens(self) -> int:
        """Tokens emitted so far."""
        return len(self.output)

    def close(self, state: RequestState) -> None:
        """The request is over: keep the length of the output, not the output."""
        self.output = range(len(self.output))
        self.end_all()
        self.e2e_s = self.elapsed_s()
        self.enter(state)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._start_s

    def enter(self, state: RequestState) -> None:
        """Move to `state`; raises AssertionError if the life of a request has no such step."""
        self.state = advance(self.state, state)

    def begin(self, name: str, worker: str = "", reason: str = "", detail: str = "") -> None:
        """Start a stage, ending the open one of the same name."""
        if name in self._open:
            self.end(name)
        stage = StageRecord(name, worker, time.monotonic() - self._start_s, self.attempt, reason, detail)
        self._open[name] = stage
        self.stages.append(stage)

    def end(self, name: str, detail: str = "") -> float:
        """End the open stage `name`; returns how long it took in seconds, 0 if there is none."""
        stage = self._open.pop(name, None)
        if stage is None:
            return 0.0
        stage.seconds = seconds = time.monotonic() - self._start_s - stage.started_s
        if detail:
            stage.detail = f"{stage.detail}; {detail}" if stage.detail else detail
        return seconds

    def did(self, name: str, seconds: float, reason: str = "", detail: str = "") -> None:
        """A stage that has just ended and took `seconds`."""
        started_s = self.elapsed_s() - seconds
        self.stages.append(StageRecord(name, "", started_s, self.attempt, reason, detail, seconds))

    def end_all(self) -> None:
        now_s = self.elapsed_s()
        for stage in self._open.values():
            stage.seconds = now_s - stage.started_s
        self._open.clear()
